"""A memory of three small tasks, its weights moved at random, and what exports are asked."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from dgm_tf.data import datasets
from dgm_tf.data.stream import class_incremental
from dgm_tf.methods.settings import DGMSettings
from tests.networks.tiny_generator import settings_of
from tests.tiny_run import MovedDGM

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
def learner(form="w", tasks=3, channels=1):
    """Shared by the tests, which leave it as it is."""
    sizes = {"latent_dim": LATENT, "generator_size": 5, "critic_size": 4, "batch_size": 4}
    made = MovedDGM(DGMSettings(**settings_of(form), **sizes))
    for task in stream(channels).tasks():
        made.learn(task)
        if task.index == tasks:
            return made


@functools.cache
def exported(form="w", classifier=False):
    """The result of `DGM.export`; shared by the tests, which leave it as it is."""
    folder = tempfile.mkdtemp(prefix="dgm_tf-export-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return learner(form).export(Path(folder) / form, classifier=classifier)
