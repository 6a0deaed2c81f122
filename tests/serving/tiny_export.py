"""A memory of three small tasks, learnt in seconds, and what exports of it are asked."""

import functools
from pathlib import Path

import numpy as np

from dgm_tf import datasets
from dgm_tf.learners.dgm import DGM
from dgm_tf.stream import class_incremental

TASKS = ((3, 0), (5,), (1, 2))  # class 4 comes last and is not learnt
NAMES = ("zero", "one", "two", "three", "four", "five")
LATENT = 10
# Two of the second task's kind and an unequal number of the others', in no order.
LABELS = np.array([5, 0, 3, 1, 5, 2, 2, 0, 3, 3, 1], np.int32)
LABELS.flags.writeable = False


def stream(channels=1):
    """Random images of six classes, 16x16."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, [72, 16, 16, channels]).astype(np.uint8)
    labels = np.repeat(np.arange(6), 12)
    data = datasets.from_arrays(
        images, labels, test_images=images, test_labels=labels, class_names=NAMES, name="noise"
    )
    order = [label for classes in (*TASKS, (4,)) for label in classes]
    return class_incremental(data, classes_per_task=(2, 1, 2, 1), class_order=order, image_size=16)


@functools.cache
def learner(variant="w", tasks=3, channels=1):
    """Shared by the tests, which leave it as it is."""
    made = DGM(
        variant=variant, epochs=1, batch_size=5, latent_dim=LATENT, generator_size=5,
        critic_size=4, consolidation_steps=1, replay_batch=8,
        replay_buffer=40, learning_rate=0.03, sparsity=0.0,
    )  # fmt: skip
    for task in stream(channels).tasks():
        made.learn(task)
        if task.index == tasks:
            return made


def files(folder):
    """Every file below a folder by its relative path, hidden ones included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }
