"""The one door for images and labels that a user hands in: arrays that can be used, or a refusal.

The networks take anything of the right rank; some of what they would answer has no meaning, and
some shapes end the process. Nothing comes to them but through here.
"""

import itertools
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dgm_tf import _checks
from dgm_tf.data import image_file
from dgm_tf.errors import InputError

CHANNELS = (1, 3)

_NUMBER = r"[+-]?\d*[.,]?\d+"
_AT_ONCE = 256
_LEAST_WIDTH = 5  # what is narrower is an axis of channels


def images(given: Any, image_shape: Sequence[int]) -> np.ndarray:
    """Images to classify, as one array.

    Args:
        given: one image or many. uint8 [N, H, W, 1 or 3] or [H, W, 1 or 3] of any height and
            width, or floats in [-1, 1] of height and width S. Of grey images the axis of channels
            may be missing. None of them, such as an empty list, are no images.
        image_shape: (S, S, C) of the network's images. Others become grey or get three channels, as
            those of files do.

    Returns:
        uint8 [N, H, W, C], or float32 [N, S, S, C] in [-1, 1]; N is 1 for a single image.

    Raises:
        InputError: it is anything else.
    """
    size, _, channels = image_shape
    wanted = (
        "one image or many with 1 or 3 channels, uint8 of any size or floats in [-1, 1] of "
        f"{size} x {size} pixels"
    )
    found = _array(given, wanted)
    if found.shape == (0,):
        return np.zeros([0, *image_shape], np.uint8)
    pixels = _pixels(found, wanted, one=True)
    if pixels.dtype != np.uint8 and pixels.shape[1:3] != (size, size):
        raise _refusal(wanted, _described(pixels), "give uint8, which may be of any size")
    return image_file.in_colours(pixels, channels)


def are_unlike(given: Any) -> bool:
    """Whether this is a list of single images that form no array.

    They are arrays, tensors or pictures, and differ in size, channels, type of numbers or kind.
    """
    if not isinstance(given, list | tuple):
        return False
    if not all(_is_picture(each) or _is_single(each) for each in given):
        return False
    kinds = {
        ("picture", *each.size) if _is_picture(each) else (str(each.dtype), *each.shape)
        for each in given
    }
    return len(kinds) > 1


def _is_single(given: Any) -> bool:
    is_array = hasattr(given, "__array__") and hasattr(given, "dtype")
    return is_array and len(getattr(given, "shape", ())) in (2, 3)


def is_pair(given: Any) -> bool:
    """Whether this is images and their labels, and no data set of two such pairs."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        return False
    return isinstance(given, tuple) or not all(isinstance(each, tuple | list) for each in given)


def training_images(given: Any) -> np.ndarray:
    """Images to learn from, as one array.

    Args:
        given: uint8 or floats in [-1, 1], [N, H, W, 1 or 3] or grey [N, H, W], all of one size.

    Returns:
        uint8 or float32 [N, H, W, C].

    Raises:
        InputError: it is anything else, or floats without any below 0, which are those of another
            range: what is learnt of them cannot be taken back.
    """
    wanted = "images [N, height, width, 1 or 3 channels], uint8 or floats in [-1, 1]"
    found = _array(given, wanted)
    if not found.size:
        raise _refusal(wanted, _described(found), "there is nothing to learn from")
    if found.dtype.kind == "f" and 0 <= (low := found.min()) < (high := found.max()) <= 1:
        received = f"{_described(found)} with values from {low:.6g} to {high:.6g}"
        hint = "pixels * 2 - 1 brings 0 to 1 there; images that are so bright can be uint8"
        raise _refusal(wanted, received, hint)
    return _pixels(found, wanted, one=False)


def labels(given: Any) -> np.ndarray:
    """Class ids int64 [N] or class names str [N], of which one may stand alone.

    Raises:
        InputError: they are neither, or both.
    """
    wanted = "class ids (integers) or class names (texts), one for each image"
    if isinstance(given, list | tuple):
        if len({isinstance(each, str | bytes) for each in given}) > 1:
            raise _refusal(wanted, "texts among other things", "use one kind")
    found = _array(given, wanted)
    received = _described(found)
    if found.ndim == 0 or found.shape[1:] == (1,):
        found = found.reshape(-1)
    if found.shape == (0,):
        return np.zeros(0, np.int64)
    if found.ndim != 1:
        hint = "of one-hot rows take labels.argmax(axis=1)" if found.ndim == 2 else ""
        raise _refusal(wanted, received, hint)
    if found.dtype.kind in "iu" and found.max() <= np.iinfo(np.int64).max:
        return found.astype(np.int64)
    if found.dtype.kind in "OSTU":
        texts = [_text(each) for each in found.tolist()]
        if None not in texts:
            return np.array(texts, str)
    hint = "convert them by labels.astype(int)" if found.dtype.kind in "bf" else ""
    raise _refusal(wanted, received, hint)


def class_ids(given: Any, known: Mapping[int, str]) -> np.ndarray:
    """Ids int64 [N] of classes by their ids or names, of which one may stand alone.

    Args:
        given: ids or names.
        known: names of the classes learnt, by id.

    Raises:
        InputError: they are no labels, or of a class that has not been learnt.
    """
    found = labels(given)
    by_label: Mapping[Any, int] = {label: label for label in known}
    if found.dtype.kind == "U":
        by_label = {name: label for label, name in known.items()}
    for label in np.unique(found).tolist():
        if label not in by_label:
            named = (
                f"{each} ({name})" if name != str(each) else name for each, name in known.items()
            )
            raise InputError(
                f"class {_checks.one_line(label, 80)} has not been learnt; known are "
                f"{_checks.one_line(', '.join(named))}"
            )
    return np.array([by_label[label] for label in found.tolist()], np.int64)


def check_paired(images: np.ndarray, labels: np.ndarray) -> None:
    """Refuses images and labels that are not equally many."""
    if len(images) != len(labels):
        raise InputError(
            f"expected a label for each image; received {len(images)} images and "
            f"{len(labels)} labels"
        )


def asked_classes(
    asked: Sequence[str], known: Mapping[int, str], *, missing: str = "is unknown"
) -> list[int]:
    """Ids of classes that a command line asks for.

    A text is a name, in any form of Unicode and without blanks around it. Where no class is called
    by a number, a number is an id: whoever calls classes by numbers means these.

    Args:
        asked: names or ids.
        known: names of all classes, by id.
        missing: said of a class that is none of them.

    Raises:
        InputError: there is no such class.
    """
    by_text = {name.strip(): label for label, name in known.items()}
    by_text |= {name: label for label, name in known.items()}
    if not any(re.fullmatch(_NUMBER, name) for name in known.values()):
        by_text = {str(label): label for label in known} | by_text
    texts = [_text(text) for text in asked]
    for text in texts:
        if text not in by_text:
            names = _checks.listed(known.values())
            raise InputError(f"class {_checks.one_line(text, 80)} {missing}; there are {names}")
    return [by_text[text] for text in texts]


def labelled_batches(dataset: Iterable[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of a data set, whether it has batches or single images.

    Args:
        dataset: pairs (images, labels) or (image, label), such as a finite `tf.data.Dataset`.

    Yields:
        Arrays of images [N, ...] and of labels [N] or [N, 1] as they are, not checked. Single
        images of one shape come together, up to 256.

    Raises:
        InputError: it is no such data set.
    """
    if _is_endless(dataset):
        raise InputError("expected a data set that ends, received one that repeats for ever")
    try:
        pairs = iter(dataset)
    except TypeError as error:
        raise _no_pairs(dataset) from error
    together = itertools.groupby(map(_pair, pairs), key=lambda pair: (pair[2], pair[0].shape))
    for (single, _), group in together:
        if not single:
            yield from (pair[:2] for pair in group)
            continue
        while part := list(itertools.islice(group, _AT_ONCE)):
            yield np.stack([pair[0] for pair in part]), np.stack([pair[1] for pair in part])


def _pair(element: Any) -> tuple[np.ndarray, np.ndarray, bool]:
    """Images and labels of an element, and whether it is a single image."""
    if not isinstance(element, tuple | list) or len(element) != 2:
        raise _no_pairs(element)
    pixels, label = (_array(part, "pairs of images and labels") for part in element)
    single = label.ndim == 0 or pixels.ndim == 2
    one_hot = pixels.ndim == 3 and label.ndim == 1 and len(label) > 1
    # As many as the image has rows: grey images and their labels, unless there are three channels.
    if one_hot and (len(label) != len(pixels) or pixels.shape[-1] in CHANNELS):
        received = f"an image of shape {pixels.shape} with a label of shape {label.shape}"
        raise _refusal("a label for each image", received, "of a one-hot label take its argmax()")
    if label.shape == (1,) and pixels.ndim == 3:  # as Keras' CIFAR has its labels
        single = pixels.shape[0] != 1
    return pixels, label, single


def _no_pairs(received: Any) -> InputError:
    hint = "TensorFlow Datasets gives them by as_supervised=True" * isinstance(received, dict)
    wanted = "a data set of pairs (images, labels)"
    return _refusal(wanted, f"{type(received).__name__}", hint)


def _is_endless(dataset: Any) -> bool:
    cardinality = getattr(dataset, "cardinality", None)
    return callable(cardinality) and int(cardinality()) == -1


def _pixels(found: np.ndarray, wanted: str, *, one: bool) -> np.ndarray:
    if found.dtype != np.uint8 and found.dtype.kind != "f":
        raise _refusal(wanted, _described(found), _hint_of_type(found))
    pixels = found
    if found.ndim == 3 and one and found.shape[-1] in CHANNELS:
        pixels = found[np.newaxis]
    elif found.ndim == 2 and one:
        pixels = found[np.newaxis, ..., np.newaxis]
    elif found.ndim == 3 and found.shape[-1] >= _LEAST_WIDTH:
        pixels = found[..., np.newaxis]
    if pixels.ndim != 4 or pixels.shape[-1] not in CHANNELS or 0 in pixels.shape[1:]:
        raise _refusal(wanted, _described(found), "")
    if pixels.dtype == np.uint8 or not pixels.size:
        return pixels
    low, high = pixels.min(), pixels.max()
    if not (low >= -1 and high <= 1):  # of NaN, too
        if not (np.isfinite(low) and np.isfinite(high)):
            raise _refusal(wanted, f"{_described(found)} with values that are not finite", "")
        received = f"{_described(found)} with values from {low:.6g} to {high:.6g}"
        raise _refusal(wanted, received, "pixels / 127.5 - 1 brings 0 to 255 there")
    if low == 0 < high:  # Levels from 0 to 255, brought to [-1, 1], have no exact 0.
        warnings.warn(
            f"the floats {_described(found)} have values from 0 to {high:.6g}, and are taken as "
            "values in [-1, 1]; pixels * 2 - 1 brings 0 to 1 there",
            stacklevel=4,
        )
    return pixels.astype(np.float32, copy=False)


def _array(given: Any, wanted: str) -> np.ndarray:
    every = given if isinstance(given, list | tuple) else [given]
    # NumPy takes masked pixels for levels.
    if any(isinstance(each, np.ma.MaskedArray) for each in every):
        raise _refusal(wanted, "a masked array", "fill it by images.filled(value)")
    try:
        if any(map(_is_picture, every)):
            return _of_pictures(given)
        return np.asarray(given)
    except Exception as error:  # Whatever an object that is no array says when it is asked.
        kind, why = type(given).__name__, _checks.reason(error)
        hint = "what has different sizes is given one by one"
        raise _refusal(wanted, f"a {kind} that makes no array ({why})", hint) from error


def _is_picture(given: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")  # Without it there are no pictures.
    return bool(pillow) and isinstance(given, pillow.Image)


def _of_pictures(given: Any) -> np.ndarray:
    """Pictures of Pillow, read as a folder's files are, with one channel if all are grey.

    NumPy takes the numbers of a palette or of hues for levels, and knows neither which side is up
    nor what is transparent.
    """
    if _is_picture(given):
        found = image_file.pixels(given)
    else:
        found = np.stack([image_file.pixels(each) if _is_picture(each) else each for each in given])
    return found[..., :1] if image_file.is_grey(found) else found


def _described(array: np.ndarray) -> str:
    if array.dtype.kind in "OV" and not array.ndim:
        return f"an object of type {type(array.item()).__name__}"
    kind = {"U": "text", "S": "text", "O": "objects"}.get(array.dtype.kind, array.dtype.name)
    return f"{kind} of shape {array.shape}"


def _hint_of_type(array: np.ndarray) -> str:
    if array.dtype.kind in "US":
        return "open files first, for example by PIL.Image.open"
    if array.dtype.kind in "iu":
        return "if they are 0 to 255, convert them by images.astype('uint8')"
    return ""


def _refusal(wanted: str, received: str, hint: str) -> InputError:
    return InputError(f"expected {wanted}; received {received}{hint and f'; {hint}'}")


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return None
    return _checks.name_of(value) if isinstance(value, str) else None
