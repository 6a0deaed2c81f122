"""A stream and a learner small enough for searches of dozens of trials."""

import functools

import numpy as np

from dgm_tf.datasets import from_arrays
from dgm_tf.evaluation.accuracy import evaluate
from dgm_tf.settings import DGMSettings
from dgm_tf.stream import class_incremental
from dgm_tf.tuning.hypermodel import HyperDGM

BASE = DGMSettings(epochs=9, seed=5, batch_size=8, generator_size=3)
_means = {}  # of each task: making a pipeline takes longer than all the rest


@functools.cache
def _data():
    draw = np.random.RandomState(3)
    labels, test_labels = draw.permutation(np.repeat(np.arange(4), 20)), np.arange(4)

    def images(of):
        noise = draw.randint(-70, 71, (len(of), 16, 16, 1))
        return (100 + 15 * of[:, None, None, None] + noise).clip(0, 255).astype(np.uint8)

    return from_arrays(
        images(labels), labels, test_images=images(test_labels), test_labels=test_labels
    )


def stream(**options):
    """Noise around a grey level per class; four tasks of one class."""
    return class_incremental(_data(), **{"validation_fraction": 0.3, "image_size": 16, **options})


class Toy:
    """Nearest of a few mean pixels per class: a large `sparsity` sees fewer pixels, and is small.

    Attributes:
        learnt: (settings, number of the task) of each `learn`, of all toys.
    """

    learnt = []

    def __init__(self, settings):
        self.settings = settings
        self.means = {}
        self._pixels = max(1, round(10 * (1 - settings.sparsity)))

    def learn(self, task, *, callbacks=()):
        Toy.learnt.append((self.settings, task.index))
        (label,) = task.classes
        key = self.settings.seed, label
        if key not in _means:
            images, _ = next(iter(task.batches(14, epochs=1, seed=0)))  # all that a class has
            _means[key] = np.mean(images, axis=0)
        self.means[label] = _means[key]
        for callback in callbacks:
            callback.on_epoch_end(0, {"loss": self.loss(task)})

    def loss(self, task):
        return 0.5

    def classify(self, images):
        seen = np.asarray(images)[:, 0, : self._pixels, 0]
        means = np.stack(list(self.means.values()))[:, 0, : self._pixels, 0]
        nearest = np.square(seen[:, None] - means).sum(axis=2).argmin(axis=1)
        return np.array(list(self.means), np.int32)[nearest]

    def evaluate(self, dataset):
        return evaluate(self.classify, dataset)

    def generate(self, labels, *, seed=0):
        means = np.stack([self.means[label] for label in labels.tolist()])
        noise = np.random.RandomState(seed).normal(0.0, 0.5, means.shape)
        return (means + noise).astype(np.float32)

    def growth(self):
        size = self.settings.generator_size
        return {
            "initial_layer_widths": [4 * size, 2 * size, size],
            "layer_widths": [(4 + self._pixels) * size, 2 * size, size],
            "generator_parameters": 100 * self._pixels,
        }


class HyperToy(HyperDGM):
    """Toys in DGM's search space."""

    toy = Toy  # the class of the learners

    def learner(self, settings):
        return self.toy(settings)


def validation_accuracy(learner, cut, tasks):
    """Mean over the classes of the first tasks, by the stream's own rows, not through its doors."""
    found = []
    for (label,) in cut.task_classes[:tasks]:
        images = cut._data.train_images[cut._validation_rows[label]] / 127.5 - 1.0
        found.append(np.mean(learner.classify(images.astype(np.float32)) == label))
    return float(np.mean(found))
