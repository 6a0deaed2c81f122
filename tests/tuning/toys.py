"""A stream and a learner small enough for searches of dozens of trials within a second."""

import itertools

import numpy as np

from dgm_tf.datasets import ImageData
from dgm_tf.learners.base import Learner
from dgm_tf.settings import DGMSettings
from dgm_tf.stream import class_incremental
from dgm_tf.tuning.hypermodel import HyperDGM

CLASSES = 4
_BATCHES = {}  # what each task hands out: making a pipeline takes longer than all the rest
BASE = DGMSettings(epochs=9, seed=5, batch_size=8, generator_size=3)


def stream(**options):
    """Noise around a grey level per class; four tasks of one class."""
    draw = np.random.RandomState(3)
    labels = draw.permutation(np.repeat(np.arange(CLASSES), 20))
    test_labels = np.repeat(np.arange(CLASSES), 5)

    def images(of):
        noise = draw.randint(-70, 71, (len(of), 16, 16, 1))
        return (100 + 15 * of[:, None, None, None] + noise).clip(0, 255).astype(np.uint8)

    data = ImageData(
        name="toys", train_images=images(labels), train_labels=labels,
        test_images=images(test_labels), test_labels=test_labels,
        class_names=("ant", "bee", "cat", "dog"), source="made for this test", image_size=16,
    )  # fmt: skip
    return class_incremental(data, **{"validation_fraction": 0.3, **options})


class Toy(Learner):
    """Nearest of a few mean pixels per class: a large `sparsity` sees fewer pixels, and is small.

    Attributes:
        learnt: (settings, task, epochs) of each `learn`, of all toys.
    """

    name = "toy"
    learnt = []

    def __init__(self, settings):
        self.settings = settings
        self._means = {}
        self._tasks = 0
        self._pixels = max(1, round(10 * (1 - settings.sparsity)))

    @property
    def classes_seen(self):
        return tuple(self._means)

    @property
    def finished_tasks(self):
        return self._tasks

    def _features(self, images):
        return np.asarray(images)[:, 0, : self._pixels, 0]

    def learn(self, task, *, epochs=None, callbacks=()):
        epochs = self.settings.epochs if epochs is None else epochs
        type(self).learnt.append((self.settings, task.index, epochs))
        key = (self.settings.seed, *task.classes)
        if key not in _BATCHES:
            batches = task.batches(self.settings.batch_size, epochs=1, seed=self.settings.seed)
            _BATCHES[key] = [np.concatenate(part) for part in zip(*batches, strict=True)]
        images, labels = _BATCHES[key]
        for epoch in range(epochs):
            for callback in callbacks:
                callback.on_epoch_end(epoch, self.logs(task, epoch))
        for label in task.classes:
            self._means[label] = images[labels == label].mean(axis=0)
        self._tasks += 1
        return {}

    def logs(self, task, epoch):
        return {"loss": 0.5}

    def classify(self, images):
        labels = np.array(self.classes_seen, np.int32)
        means = self._features(list(self._means.values()))
        distances = np.square(self._features(images)[:, None] - means).sum(axis=2)
        return labels[distances.argmin(axis=1)]

    def generate(self, labels, *, seed=0):
        means = np.stack([self._means[label] for label in np.asarray(labels).tolist()])
        noise = np.random.RandomState(seed).normal(0.0, 0.5, means.shape)
        return (means + noise).astype(np.float32)

    def growth(self):
        size = self.settings.generator_size
        return {
            "initial_layer_widths": [4 * size, 2 * size, size],
            "layer_widths": [(4 + self._pixels) * size, 2 * size, size],
            "generator_parameters": 100 * self._pixels,
            "free_fraction": 1.0,
            "layers": [],
        }

    def state(self):
        return {}, {}

    @classmethod
    def from_state(cls, meta, arrays):
        raise NotImplementedError


class HyperToy(HyperDGM):
    """Toys in DGM's search space.

    Args:
        toy: the class of the learners.
    """

    def __init__(self, base=BASE, *, toy=Toy, **options):
        super().__init__(base, **options)
        self._toy = toy

    def learner(self, settings):
        return self._toy(settings)


def validation_accuracy(learner, cut, tasks):
    """Mean over classes, by the stream's own rows rather than through its doors."""
    data, shares = cut._data, []
    for label in itertools.chain(*cut.task_classes[:tasks]):
        images = data.train_images[cut._validation_rows[label]] / 127.5 - 1.0
        shares.append(np.mean(learner.classify(images.astype(np.float32)) == label))
    return float(np.mean(shares))
