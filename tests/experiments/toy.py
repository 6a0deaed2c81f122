"""A learner of one mean image per class, and a stream for it."""

import numpy as np

from dgm_tf.data.datasets import ImageData
from dgm_tf.data.stream import class_incremental
from dgm_tf.learners.learner import Learner
from dgm_tf.methods.settings import LearnerSettings

SETTINGS = LearnerSettings(seed=3, epochs=2, batch_size=4)


class NearestMean(Learner):
    """A toy that keeps the contract: one mean image per class, generated with noise around it."""

    method = name = "nearest-mean"
    generates = True

    def __init__(self, settings=SETTINGS):
        super().__init__(settings)
        self._means = {}

    def learn_task(self, task, *, callbacks=()):
        epochs, steps = self.settings.epochs, task.steps_per_epoch(4)
        seen = {label: [] for label in task.classes}
        for callback in callbacks:
            callback.set_params({"epochs": epochs, "steps": steps})
            callback.on_train_begin()
        batches = task.batches(4, epochs=epochs, seed=self.settings.seed + task.index)
        for index, (images, labels) in enumerate(batches):
            for image, label in zip(images.numpy(), labels.numpy(), strict=True):
                seen[int(label)].append(image)
            for callback in callbacks:
                callback.on_train_batch_end(index % steps, {"critic_loss": float(index)})
                if index % steps == steps - 1:
                    callback.on_epoch_end(index // steps, {"critic_loss": float(index)})
        self._means |= {label: np.mean(images, axis=0) for label, images in seen.items()}
        self.count_task(task)
        return {"critic_loss": [float(epoch) for epoch in range(epochs)]}

    image_shape = (16, 16, 1)

    def probabilities(self, images):
        means = np.stack(list(self._means.values()))  # [K, H, W, C]
        distances = np.square(images[:, None] - means).sum(axis=(2, 3, 4))  # [N, K]
        return np.eye(len(means), dtype=np.float32)[distances.argmin(axis=1)]

    def generate(self, labels, *, seed=0):
        means = np.stack([self._means[int(label)] for label in labels])
        noise = np.random.RandomState(seed).uniform(-0.2, 0.2, means.shape)
        return np.clip(means + noise, -1, 1).astype(np.float32)

    def growth(self):
        units = 4 * (self.finished_tasks + 1)
        layer = {
            "layer": "block_1", "inputs": 8, "units": units, "weights": 8 * units,
            "reserved": 32 * self.finished_tasks, "free": 32, "initial_free": 32,
        }  # fmt: skip
        return {
            "initial_layer_widths": [4],
            "layer_widths": [units],
            "generator_parameters": 8 * units,
            "free_fraction": 32 / (8 * units),
            "layers": [layer],
        }

    def state(self):
        meta, _ = super().state()
        return meta, {f"mean/{label}": mean for label, mean in self._means.items()}

    def load(self, meta, arrays):
        super().load(meta, arrays)
        self._means = {label: arrays[f"mean/{label}"] for label in self.classes_seen}


def new_stream(*, seed=0):
    """Three tasks over four classes of coloured squares; class 3 looks much like class 1."""
    random = np.random.RandomState(0)
    levels = np.array([20, 90, 220, 110])
    labels = np.repeat(np.arange(4), 12)
    noise = random.randint(-20, 20, (48, 16, 16, 1))
    images = np.clip(levels[labels][:, None, None, None] + noise, 0, 255).astype(np.uint8)
    data = ImageData(
        name="squares", train_images=images, train_labels=labels, test_images=images[::2],
        test_labels=labels[::2], class_names=("a", "b", "c", "d"), source="made for this test",
    )  # fmt: skip
    return class_incremental(data, classes_per_task=(1, 2, 1), image_size=16, seed=seed)
