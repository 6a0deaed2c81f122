"""What a learner and an exported model have in common: images in, classes out."""

import abc
from typing import Any

import numpy as np

from dgm_tf.data import inputs
from dgm_tf.data.pixels import resized
from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import Evaluation, evaluate

_CHUNK = 256


class ImageClassifier(abc.ABC):
    """Base class of what tells the classes of images.

    Images are one or many: uint8 [N, H, W, C] or [H, W, C] of any height and width, or floats in
    [-1, 1] of the network's own size. Of grey images the axis of channels may be missing. A list
    may hold images of different sizes. Images of another size are cut to their central square,
    which is resized. Anything else is refused by an `InputError` that says what was wanted and what
    came.
    """

    @property
    @abc.abstractmethod
    def classes_seen(self) -> tuple[int, ...]:
        """Ids of the classes learnt, in order of arrival."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of `classes_seen`."""
        return tuple(map(str, self.classes_seen))

    @property
    @abc.abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """(S, S, C) of the images that the networks see.

        Raises:
            InputError: nothing has been learnt.
        """

    @abc.abstractmethod
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of images: the part that a method brings. Users call `predict`.

        Args:
            images: float32 [N, S, S, C] in [-1, 1], N from 1 to 256.

        Returns:
            float32 [N, classes], in order of arrival.
        """

    def predict(self, images: Any) -> np.ndarray:
        """Returns the probability of each class, float32 [N, classes], in order of arrival.

        Args:
            images: one or many, as the class says.

        Raises:
            InputError: they cannot be used, or nothing has been learnt.
        """
        while True:
            before = self.__dict__
            try:
                return self._predicted(images)
            except Exception:
                # A task that ends in another thread gives the learner a new one; parts of a
                # prediction before and after it have other classes, and fit no array.
                if self.__dict__ is before:
                    raise

    def _predicted(self, images: Any) -> np.ndarray:
        classes = len(self.classes_seen)
        if not classes:
            raise InputError("nothing has been learnt yet: call learn(data) first")
        pixels, size = self._taken(images), self.image_shape[0]
        found = np.empty([len(pixels), classes], np.float32)
        for first in range(0, len(pixels), _CHUNK):
            part = resized(pixels[first : first + _CHUNK], size)
            found[first : first + len(part)] = self._probabilities_of(part)
        return found

    def _probabilities_of(self, images: np.ndarray) -> np.ndarray:
        """What `probabilities` returns, looked at: the method may be anybody's."""
        found = np.asarray(self.probabilities(images))
        wanted = len(images), len(self.classes_seen)
        if found.shape != wanted:
            raise InputError(
                f"probabilities of {type(self).__name__} must be {list(wanted)}, a column for each "
                f"class seen; received {list(found.shape)}"
            )
        if not np.isfinite(found).all():
            raise InputError(f"probabilities of {type(self).__name__} are no finite numbers")
        return found

    def classify(self, images: Any, *, names: bool = False) -> np.ndarray:
        """Returns the most probable class of each image: ids int32 [N], or names str [N].

        Args:
            images: one or many, as the class says.
            names: give the names.

        Raises:
            InputError: the images cannot be used, or nothing has been learnt.
        """
        best = self.predict(images).argmax(axis=1)
        classes = np.array(self.class_names) if names else np.asarray(self.classes_seen, np.int32)
        return classes[best]

    def evaluate(self, images: Any, labels: Any = None) -> Evaluation:
        """Returns the accuracy of `classify`.

        Args:
            images: as above, with `labels`; or a data set of pairs (images, labels), with batches
                or single images, such as a stream's `seen_test(task)`.
            labels: class ids or names [N].

        Raises:
            InputError: images or labels cannot be used, or are of classes not learnt.
        """
        if labels is None and inputs.is_pair(images):
            images, labels = images
        if labels is not None:
            batches = [(self._taken(images), labels)]
        else:
            batches = inputs.labelled_batches(images)
        return evaluate(self.classify, map(self._with_ids, batches))

    def _taken(self, images: Any) -> np.ndarray:
        """Images as one array, which those of different sizes are resized for."""
        if not inputs.are_unlike(images):
            return inputs.images(images, self.image_shape)
        each = [inputs.images(image, self.image_shape) for image in images]
        return np.concatenate([resized(pixels, self.image_shape[0]) for pixels in each])

    def _with_ids(self, batch: tuple[np.ndarray, Any]) -> tuple[np.ndarray, np.ndarray]:
        images, labels = batch
        ids = inputs.class_ids(labels, self._named_classes())
        inputs.check_paired(images, ids)
        return images, ids

    def _named_classes(self) -> dict[int, str]:
        # A task may end in another thread between the two: names and classes are only appended.
        return dict(zip(self.classes_seen, self.class_names, strict=False))
