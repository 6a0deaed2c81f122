"""A learner with real phases whose run takes a second."""

import functools

import keras
import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.data.datasets import ImageData
from dgm_tf.data.stream import class_incremental
from dgm_tf.learners.learner import Learner
from dgm_tf.learners.phase import Phase, new_adam
from dgm_tf.methods.settings import LearnerSettings

BATCH = 4
EPOCHS = 2
SETTINGS = {"seed": 3, "epochs": EPOCHS}


def take_step(phase, batch):
    """One training step, eagerly; returns the means of the epoch so far."""
    phase.means.update_state(phase.train_step(batch))
    phase.step.assign_add(1)
    return {name: float(value) for name, value in phase.logs().items()}


class BrokenOff(keras.callbacks.Callback):
    """Ctrl-C after the first epoch of a phase."""

    def __init__(self, phase):
        super().__init__()
        self._phase = phase

    def on_epoch_end(self, epoch, logs=None):
        if self.model.phase == self._phase:
            raise KeyboardInterrupt


class Counted(keras.callbacks.Callback):
    """Counts training steps."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1


class Table(keras.Model):
    """One image per class, which grows with the classes."""

    def __init__(self, size, classes, old=None):
        super().__init__()
        self.rows = self.add_weight(shape=(classes, size), initializer="zeros", name="rows")
        self.built = True
        if old is not None:
            self.rows.assign(np.pad(old, ((0, classes - len(old)), (0, 0))))


class TablePhase(Phase):
    """Draws the rows to the images of their classes, with noise from a buffer that it renews.

    From step `breaks_at` on its loss is no number.
    """

    logged = ("loss",)

    def __init__(self, name, table, noise, seed, *, rate, breaks_at=None):
        self.phase = name
        super().__init__(seed)
        self.table, self._noise = table, noise
        self._buffer = tf.Variable(tf.zeros([5]), trainable=False)
        self._adam = new_adam(rate, [table.rows])
        self._breaks_at = breaks_at

    def networks(self):
        return {"table": self.table}

    def own_variables(self):
        return super().own_variables() | {
            "adam": self._adam.variables,
            "buffer": [self._buffer],
        }

    def train_step(self, data):
        images, labels = data
        images = tf.reshape(images, [images.shape[0], -1])
        place = tf.cast(self.step % 5, tf.int32)
        new = randomness.normal([1], self.step_seed(0))
        buffer = tf.tensor_scatter_nd_update(self._buffer, [[place]], new)
        self._buffer.assign(buffer)
        with tf.GradientTape() as tape:
            rows = tf.gather(self.table.rows.value, labels)
            loss = tf.reduce_mean(tf.square(rows - images))
            loss += self._noise * tf.reduce_mean(self._buffer) * tf.reduce_mean(rows)
            if self._breaks_at is not None:
                loss = tf.where(self.step >= self._breaks_at, np.nan, loss)
        self._adam.apply([tape.gradient(loss, self.table.rows.value)], [self.table.rows])
        return {"loss": loss}


class TinyLearner(Learner):
    """Two phases per task, a state that grows, and images of every class."""

    method = "tiny"
    generates = True

    def __init__(self):
        super().__init__(LearnerSettings(**SETTINGS, batch_size=BATCH))
        self._rows = None

    def learn_task(self, task, *, callbacks=()):
        number = self.finished_tasks + 1
        classes = len(self.classes_seen) + len(task.classes)
        table = self.grown(int(np.prod(task.image_shape)), classes)
        history = {}
        for name, noise in (("adversarial", 0.5), ("consolidation", 0.1)):
            seed = randomness.pair(3, name, number)
            breaks_at = self.breaks_at(number, name)
            phase = TablePhase(name, table, noise, seed, rate=0.1, breaks_at=breaks_at)

            order = randomness.derive(3, name, number)
            batches = functools.partial(task.batches, BATCH, epochs=EPOCHS, seed=order)
            steps = task.steps_per_epoch(BATCH)
            found = phase.run(batches, epochs=EPOCHS, steps_per_epoch=steps, callbacks=callbacks)
            history |= {f"{name} {key}": values for key, values in found.items()}
        self._rows = table.rows.numpy()
        self.count_task(task)
        return history

    def breaks_at(self, task, phase):
        """The step from which the loss is no number, for learners that diverge."""
        return None

    def grown(self, size, classes):
        return Table(size, classes, self._rows)

    image_shape = (16, 16, 1)

    def probabilities(self, images):
        flat = np.reshape(images, (len(images), 1, -1))
        distances = np.square(flat - self._rows).sum(axis=2)  # [N, K]
        return np.eye(len(self.classes_seen), dtype=np.float32)[distances.argmin(axis=1)]

    def generate(self, labels, *, seed=0):
        rows = self._rows[[self.classes_seen.index(int(label)) for label in labels]]
        noise = np.random.RandomState(seed).uniform(-0.1, 0.1, rows.shape)
        return np.clip(rows + noise, -1, 1).astype(np.float32).reshape(-1, 16, 16, 1)

    def growth(self):
        return {"generator_parameters": self._rows.size}

    def state(self):
        meta, _ = super().state()
        return meta, {"rows": self._rows}

    def load(self, meta, arrays):
        super().load(meta, arrays)
        self._rows = arrays["rows"]


def new_stream():
    """Two tasks of grey squares, one class and then two."""
    random = np.random.RandomState(0)
    labels = np.repeat(np.arange(3), 12)
    noise = random.randint(-20, 20, (36, 16, 16, 1))
    levels = np.array([30, 220, 120])[labels][:, None, None, None]
    images = np.clip(levels + noise, 0, 255).astype(np.uint8)
    data = ImageData(
        name="squares", train_images=images, train_labels=labels, test_images=images[::2],
        test_labels=labels[::2], class_names=("a", "b", "c"), source="made for this test",
    )  # fmt: skip
    return class_incremental(data, classes_per_task=(1, 2), image_size=16, seed=0)
