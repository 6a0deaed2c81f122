"""The oracle: a classifier that has seen every real training image, and judges generated ones.

It is trained once per data set and image size and kept in a cache with its own accuracy on the test
images, without which no judgement of it means anything.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dgm_tf import _checks, randomness
from dgm_tf.data import augmentation
from dgm_tf.data.stream import TaskStream
from dgm_tf.errors import InputError
from dgm_tf.evaluation import quality
from dgm_tf.evaluation.accuracy import evaluate
from dgm_tf.storage import checkpoint, paths

_log = logging.getLogger(__name__)

_RECIPE = 2  # raised with every change to the network or its training: old caches do not count
_BATCH, _RATE = 128, 2e-3
_EPOCHS, _STEPS = 40, 2400  # the fewer of both, but
_LEAST_EPOCHS, _LEAST_STEPS = 4, 600
_CHUNK = 256
IMAGES_PER_CLASS = 200
_REAL_IMAGES = 2000  # neighbours are counted pair by pair
_SEED = 77


@dataclasses.dataclass(frozen=True)
class Judgement:
    """An oracle's view of generated images; all but the distance are 0 to 1.

    With fewer than four real images the last three are NaN.

    Attributes:
        class_accuracy: fraction of each class's generated images that the oracle recognises.
        class_share: fraction of all generated images that the oracle takes for each class;
            1 / classes in balance.
        frechet_distance: between real test and generated images, in the oracle's features.
        precision: fraction of generated images near real ones.
        recall: fraction of real images near generated ones.
    """

    class_accuracy: dict[int, float]
    class_share: dict[int, float]
    frechet_distance: float
    precision: float
    recall: float

    @property
    def accuracy(self) -> float:
        """G_t, 0 to 1: the mean of the class accuracies."""
        return float(np.mean(list(self.class_accuracy.values())))


class Oracle:
    """A convolutional classifier of all of a data set's classes.

    Args:
        image_shape: (S, S, channels), S a multiple of 4.
        classes: number of class ids.
        test_accuracy: its own, on real test images, 0 to 1.
    """

    def __init__(self, image_shape: tuple[int, ...], classes: int, test_accuracy: float = 0.0):
        self.image_shape, self.classes = tuple(image_shape), int(classes)
        self.test_accuracy = test_accuracy
        self._network = _network(self.image_shape, self.classes)
        self._outputs = tf.function(
            lambda images: self._network(images, training=False),
            input_signature=[tf.TensorSpec([None, *self.image_shape])],
            autograph=False,
        )

    @classmethod
    def of(cls, stream: TaskStream, *, say: Callable[[str], None] | None = None) -> "Oracle":
        """The oracle of a stream's data set, from the cache or newly trained.

        The first oracle trained on the data serves every order and division of their classes. It
        is kept in the folder `oracles` of the cache; where it cannot be a warning says so.

        Args:
            stream: the data.
            say: takes a line before the training, which may take minutes.
        """
        folder = cache_folder(stream)
        if folder is not None:
            with contextlib.suppress(InputError, OSError):  # unreadable: trained again
                if folder.is_dir():
                    return cls._loaded(folder)
        if say is not None:
            say("training the oracle of these data, which judges generated images")
        oracle = cls.trained(stream)
        if folder is None:
            _not_kept("this user has no home folder: set XDG_CACHE_HOME to keep it")
            return oracle
        try:
            checkpoint.save(folder, oracle._meta(), oracle._arrays())
        except InputError as error:
            _not_kept(f"{folder} cannot be written ({_checks.reason(error.__cause__ or error)})")
        return oracle

    @classmethod
    def trained(cls, stream: TaskStream) -> "Oracle":
        """An oracle trained on all real training images of a stream, the held-out ones excepted."""
        classes = max(max(task) for task in stream.task_classes) + 1
        oracle = cls(stream.image_shape, classes)
        oracle._train(stream)
        oracle.test_accuracy = evaluate(
            oracle.classify, stream.seen_test(len(stream))
        ).average_accuracy
        return oracle

    def _train(self, stream: TaskStream) -> None:
        images = sum(stream.describe()["train_images"])
        batch = min(_BATCH, images)
        steps = training_steps(images // batch)
        seed = randomness.pair(_SEED, "oracle")
        optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(_RATE, steps), epsilon=1e-8
        )
        optimizer.build(self._network.trainable_variables)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits

        @tf.function(autograph=False, reduce_retracing=True)
        def update(images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> None:
            images = augmentation.distorted(images, randomness.fold(seed, step))
            with tf.GradientTape() as tape:
                _, logits = self._network(images, training=True)
                loss = tf.reduce_mean(entropy(labels, logits))
            variables = self._network.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)

        batches = stream.joint_batches(
            len(stream), batch, epochs=steps, seed=randomness.derive(_SEED, "oracle order")
        )
        for step, (images, labels) in enumerate(batches.take(steps)):
            update(images, labels, tf.constant(step))

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Class ids int32 [N] of images float32 [N, S, S, C] in [-1, 1]."""
        return self._in_chunks(images)[1].argmax(axis=1).astype(np.int32)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Features float32 [N, 64], the last layer before the logits, of images as above."""
        return self._in_chunks(images)[0]

    def _in_chunks(self, images: np.ndarray) -> list[np.ndarray]:
        parts = [
            [part.numpy() for part in self._outputs(images[first : first + _CHUNK])]
            for first in range(0, len(images), _CHUNK)
        ]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def judge(
        self,
        generate: Callable[..., np.ndarray],
        classes: tuple[int, ...],
        real: Any,
        *,
        images_per_class: int = IMAGES_PER_CLASS,
    ) -> Judgement:
        """Judges images generated for each class.

        Args:
            generate: `generate(labels, seed=...)`, as a learner's.
            classes: class ids.
            real: batches (images, class ids) of real test images of the same classes; at most
                2,000 of them, chosen at random, are compared with the generated ones.
            images_per_class: images generated of each class.
        """
        accuracy, made, predicted = {}, [], []
        for label in classes:
            images = generate(np.full(images_per_class, label, np.int32), seed=_SEED)
            predicted.append(self.classify(images))
            accuracy[int(label)] = float(np.mean(predicted[-1] == label))
            made.append(self.features(images))
        found = np.concatenate([np.asarray(images) for images, _ in real])
        if len(found) > _REAL_IMAGES:
            rows = np.random.default_rng(_SEED).permutation(len(found))
            found = found[rows[:_REAL_IMAGES]]
        found = self.features(found)
        made, predicted = np.concatenate(made), np.concatenate(predicted)
        fractions = {int(label): float(np.mean(predicted == label)) for label in classes}
        if len(found) < quality.FEWEST:
            return Judgement(accuracy, fractions, *[float("nan")] * 3)
        distance = quality.frechet_distance(found, made)
        return Judgement(accuracy, fractions, distance, *quality.precision_recall(found, made))

    def _meta(self) -> dict[str, Any]:
        return {
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "test_accuracy": self.test_accuracy,
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        return {str(i): value for i, value in enumerate(self._network.get_weights())}

    @classmethod
    def _loaded(cls, folder: Path) -> "Oracle":
        meta, arrays = checkpoint.load(folder)
        oracle = cls(**meta)
        oracle._network.set_weights([arrays[str(i)] for i in range(len(arrays))])
        return oracle


def cache_folder(stream: TaskStream) -> Path | None:
    """The folder of a stream's oracle in the cache; None without a cache."""
    if (cache := paths.cache()) is None:
        return None
    size, fingerprint = stream.image_shape[0], stream.describe()["fingerprint"]
    return cache / "oracles" / f"{stream.name}-{size}-{fingerprint}-v{_RECIPE}"


def _not_kept(reason: str) -> None:
    _log.warning("the oracle is not kept, and trained again next time: %s", reason)


def training_steps(steps_per_epoch: int) -> int:
    """Steps that train an oracle: 40 epochs or 2,400, but never fewer than 4 epochs or 600."""
    fewer = min(_EPOCHS * steps_per_epoch, _STEPS)
    return max(fewer, _LEAST_EPOCHS * steps_per_epoch, _LEAST_STEPS)


def _network(image_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Images to (features, logits)."""
    options = {"dtype": "float32"}  # whatever Keras' own settings are
    convolution = {**options, "data_format": "channels_last"}
    inputs = keras.Input(image_shape, **options)
    outputs = inputs
    for index, filters in enumerate((32, 64, 128)):
        outputs = keras.layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False,
            kernel_initializer=keras.initializers.HeNormal(seed=index), **convolution,
        )(outputs)  # fmt: skip
        outputs = keras.layers.BatchNormalization(momentum=0.95, **options)(outputs)
        outputs = keras.layers.ReLU(**options)(outputs)
    outputs = keras.layers.Flatten(**convolution)(outputs)
    options["kernel_initializer"] = keras.initializers.GlorotUniform(seed=3)
    features = keras.layers.Dense(64, "relu", **options)(outputs)
    logits = keras.layers.Dense(classes, **options)(features)
    return keras.Model(inputs, [features, logits])
