"""A classifier of one's own: a Keras model, saved as its configuration and its arrays."""

import contextlib
import copy
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf import _checks
from dgm_tf.errors import InputError

_ONE_AT_A_TIME = threading.RLock()  # Python's random state is one for all threads.

# (S, S, channels) and the number of classes to a model that gives logits [B, classes].
MakeClassifier = Callable[[tuple[int, int, int], int], keras.Model]


class OwnClassifier:
    """A Keras model in the place of `Critic`, as a classifier only.

    Args:
        model: images float32 [B, S, S, channels] in [-1, 1] to logits [B, classes].
        image_shape: (S, S, channels).
        classes: number of logits.
    """

    def __init__(self, model: keras.Model, image_shape: Sequence[int], classes: int):
        self.model = model
        self.image_shape = tuple(int(size) for size in image_shape)
        self.classes = int(classes)

    @classmethod
    def made(
        cls, make: MakeClassifier, image_shape: Sequence[int], classes: int, *, seed: int
    ) -> "OwnClassifier":
        """Returns what a function makes, as Keras makes it again of its configuration.

        So a classifier that cannot be saved is refused before it is trained, and its variables have
        one order from the beginning. The same seed draws the same initial weights.

        Raises:
            InputError: it makes no model, one that Keras cannot make again, one with nothing to
                train, or one that gives no finite logits for each class.
        """
        image_shape = tuple(int(size) for size in image_shape)
        policy = keras.config.dtype_policy()

        def both() -> tuple[keras.Model, keras.Model]:
            keras.config.set_dtype_policy(policy)  # Each thread has its own.
            try:
                original = _built(make(image_shape, classes), image_shape)
            except InputError:
                raise
            except Exception as error:
                raise InputError(
                    f"the function classifier fails for images of shape {image_shape} and "
                    f"{classes} classes: {type(error).__name__}: {_checks.reason(error)}"
                ) from error
            return original, _made_again(original, image_shape)

        # Keras counts the layers of a thread to name them: a model must not be called by what its
        # process has made before.
        with _seeded(seed), ThreadPoolExecutor(1) as thread:
            original, model = thread.submit(both).result()
        _check(original, model, image_shape, classes)
        return cls(model, image_shape, classes)

    @classmethod
    def restored(cls, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> "OwnClassifier":
        """Returns the classifier of a saved state, built only if its arrays came with it.

        Args:
            config: what `get_config` gave.
            arrays: what `arrays` gave, maybe among others.

        Raises:
            InputError: an array is missing or does not fit.
        """
        image_shape = tuple(config["image_shape"])
        # Variables of the sizes that anyone can have written there, without their memory.
        with keras.StatelessScope(initialize_variables=False):
            sizes = [tuple(each.shape) for each in _revived(config["keras"], image_shape).weights]
        found = [arrays.get(_array_name(index)) for index in range(len(sizes))]
        for index, (value, wanted) in enumerate(zip(found, sizes, strict=True)):
            if value is None or value.shape != wanted:
                shape = "none" if value is None else f"one of shape {value.shape}"
                raise InputError(
                    f"the saved state must hold an array {_array_name(index)} of shape {wanted}; "
                    f"it holds {shape}"
                )
        model = _revived(config["keras"], image_shape)
        model.set_weights(found)
        return cls(model, image_shape, config["classes"])

    @property
    def weights(self) -> list[keras.Variable]:
        """All variables that are saved, those of frozen layers included."""
        return list(self.model.weights)

    def class_logits(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits float32 [B, classes].

        Args:
            images: float32 [B, S, S, channels] in [-1, 1].
            training: dropout, and batch statistics.
        """
        return tf.cast(self.model(images, training=training), tf.float32)

    def keras_model(self) -> keras.Model:
        """A copy of the model with a softmax behind it; see `ClassifierLearner.keras_model`."""
        inputs = keras.Input(self.image_shape, dtype="float32", name="images")
        logits = _made_again(self.model, self.image_shape)(inputs)
        softmax = keras.layers.Softmax(dtype="float32", name="probabilities")
        return keras.Model(inputs, softmax(logits))

    @property
    def losses(self) -> list[tf.Tensor]:
        """What its layers add to the loss, such as regularisation of weights."""
        return self.model.losses

    def class_variables(self) -> list[keras.Variable]:
        """Returns the variables that `class_logits` depends on."""
        return list(self.model.variables)

    def trainable_class_variables(self) -> list[keras.Variable]:
        """Returns the variables that training changes: none of a frozen layer."""
        return list(self.model.trainable_variables)

    def random_variables(self) -> list[keras.Variable]:
        """Returns the states of its random numbers, such as those of dropout."""
        weights = {id(variable) for variable in self.model.weights}
        return [each for each in self.model.variables if id(each) not in weights]

    def inherit(self, earlier: "OwnClassifier") -> None:
        """Takes over the weights of a classifier of fewer classes, as their leading slices.

        Raises:
            InputError: its layers are others.
        """
        pairs = list(zip(self.weights, earlier.weights, strict=False))
        if len(self.weights) != len(earlier.weights) or not all(map(_widens, pairs)):
            raise InputError(
                f"the classifier of {self.classes} classes has other layers than that of "
                f"{earlier.classes}, whose weights it cannot begin with: use consolidation_start "
                "new"
            )
        for mine, its in pairs:
            value = np.array(to_numpy(mine))
            value[tuple(slice(size) for size in its.shape)] = to_numpy(its)
            mine.assign(value)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all weights by names that tell their order only."""
        return {
            _array_name(index): to_numpy(variable) for index, variable in enumerate(self.weights)
        }

    def get_config(self) -> dict[str, Any]:
        """Returns its sizes and Keras' configuration of the model, JSON-able."""
        return {
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "keras": _config(self.model),
        }


def check_maker(make: Any) -> None:
    """Refuses what is no function that makes a classifier, a model among others.

    Raises:
        InputError: it is none.
    """
    if not callable(make) or isinstance(make, keras.layers.Layer):
        raise InputError(
            "expected as classifier a function of (image_shape, classes) that returns a "
            f"keras.Model; received {type(make).__name__}"
        )


def _array_name(index: int) -> str:
    return f"classifier/{index}"


def _widens(pair: tuple[keras.Variable, keras.Variable]) -> bool:
    mine, its = (tuple(variable.shape) for variable in pair)
    return len(mine) == len(its) and all(new >= old for new, old in zip(mine, its, strict=True))


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A block in which Keras' initialisers, which draw their seeds from Python, have a seed."""
    with _ONE_AT_A_TIME:
        python, numpy = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _built(model: Any, image_shape: tuple[int, ...]) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise InputError(
            f"the function classifier must return a keras.Model, it returned {type(model).__name__}"
        )
    if not model.built:
        model.build((None, *image_shape))
    return model


def _config(model: keras.Model) -> dict[str, Any]:
    return json.loads(json.dumps(keras.saving.serialize_keras_object(model)))


def _revived(config: Mapping[str, Any], image_shape: tuple[int, ...]) -> keras.Model:
    with _seeded(0):
        # A copy, because Keras takes apart what it reads.
        model = keras.saving.deserialize_keras_object(copy.deepcopy(config), safe_mode=True)
        return _built(model, image_shape)


def _made_again(model: keras.Model, image_shape: tuple[int, ...]) -> keras.Model:
    try:
        again = keras.saving.deserialize_keras_object(_config(model), safe_mode=True)
        _built(again, image_shape).set_weights(model.get_weights())
    except Exception as error:  # Whatever a layer's own configuration brings about.
        raise InputError(
            "Keras cannot make the classifier again of its configuration "
            f"({_checks.reason(error)}): use Keras' own layers, no Lambda, and register layers of "
            "your own by keras.saving.register_keras_serializable"
        ) from error
    return again


def _check(
    original: keras.Model, model: keras.Model, image_shape: tuple[int, ...], classes: int
) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, *image_shape)).astype(np.float32)
    found = model(images, training=False)
    shape = getattr(found, "shape", None)
    if shape is None or tuple(shape) != (2, classes):
        raise InputError(
            f"a classifier of {classes} classes must give logits [B, {classes}] of images "
            f"[B, {', '.join(map(str, image_shape))}]; of two images it gave "
            f"{type(found).__name__ if shape is None else tuple(shape)}"
        )
    logits = to_numpy(found)
    if not np.isfinite(logits).all():
        raise InputError("a classifier must give finite logits; of two images it gave NaN or inf")
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-5):
        raise InputError(
            "a classifier must give logits; of two images it gave probabilities, whose sum is 1: "
            "leave the softmax out"
        )
    if not np.allclose(logits, to_numpy(original(images, training=False)), atol=1e-4):
        raise InputError(
            "the classifier that Keras makes again of its configuration gives other logits: let "
            "get_config of its layers tell all that they compute"
        )
    if not model.trainable_variables:
        raise InputError("a classifier must have weights to train: one layer at least not frozen")
