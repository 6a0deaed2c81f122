"""Checks of user input, which raise `InputError` with one line, and text for such lines."""

import contextlib
import difflib
import json
import math
import numbers
import operator
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dgm_tf import sizes
from dgm_tf.errors import InputError

LINE_LIMIT = 1000


def integer(value: Any, name: str, *, low: int, high: int | None = None) -> int:
    """`value` as an int within [low, high]; bools and floats are none."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < low or (high is not None and number > high):
        wanted = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{name} must be an integer {wanted}, got {value!r}")
    return number


def number(value: Any, name: str, *, low: float, high: float | None = None) -> float:
    """`value` as a finite float within [low, high]; bools and texts are none."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    with contextlib.suppress(OverflowError):  # of a whole number that no float is near
        if real and math.isfinite(value) and low <= value and (high is None or value <= high):
            return float(value)
    wanted = f"of at least {low:g}" if high is None else f"from {low:g} to {high:g}"
    raise InputError(f"{name} must be a number {wanted}, got {one_line(repr(value), 80)}")


def fraction(value: Any, name: str, *, zero: bool) -> float:
    """`value` as a float below 1, and above 0 unless `zero` allows 0, too."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not (0.0 < number < 1.0 or (zero and number == 0.0)):
        wanted = "of at least 0 and below 1" if zero else "between 0 and 1"
        raise InputError(f"{name} must be a number {wanted}, got {value!r}")
    return number


def different(values: Any, name: str) -> None:
    """Refuses all but a tuple or list of values of which none comes twice."""
    if not isinstance(values, tuple | list):
        raise InputError(f"{name} must be a tuple, received {one_line(ascii(values))}")
    if twice := [value for value in values if values.count(value) > 1]:
        raise InputError(f"expected {name} that differ, received {twice[0]} twice")


def one_of(kind: str, name: Any, names: Collection[str]) -> None:
    """Refuses a name that is none of `names`, and suggests the closest one."""
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(f"unknown {kind} {name!r}{hint}: choose one of {', '.join(names)}")


def image_size(value: Any) -> int:
    """The side of square images that generator and critic can halve."""
    number = integer(value, "image_size", low=sizes.SMALLEST)
    if number % sizes.MULTIPLE:
        raise InputError(f"image_size must be a multiple of {sizes.MULTIPLE}, got {number}")
    return number


def one_line(text: object, limit: int = 300) -> str:
    """Foreign text (a library's error, a file name) fit to stand within one line."""
    flat = " ".join(str(text).split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


def listed(names: Iterable[str]) -> str:
    """Names fit to stand within one line, the first of them where they are many."""
    return one_line(", ".join(names), limit=200)


def reason(error: BaseException) -> str:
    """First line of a library's error, or its type where it says nothing.

    Of the usual ones it is what they mean, without numbers, paths and positions.
    """
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON, from line {error.lineno}, column {error.colno} on"
    if isinstance(error, UnicodeDecodeError):
        return f"it is no text in {error.encoding}"
    if type(error).__name__ == "UnidentifiedImageError":  # Pillow's
        return "it is no picture, or damaged"
    text = str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
    return one_line(text.splitlines()[0], limit=200)


def is_line(text: Any) -> bool:
    """Returns whether a name is one line, not too long, that a page or JSON can show."""
    if not isinstance(text, str) or len(text) > LINE_LIMIT:
        return False
    # Control characters, line breaks, and halves of surrogate pairs.
    return not {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, text))


def is_class_name(text: Any) -> bool:
    """Returns whether a name is such a line and not empty."""
    return is_line(text) and text != ""


def class_names(names: Iterable[str]) -> None:
    """Refuses names of classes that are no such line."""
    for name in names:
        if not is_class_name(name):
            raise InputError(
                f"expected names of classes that are one line of 1 to {LINE_LIMIT} characters; "
                f"received {name!a:.100}"
            )


def name_of(text: str) -> str:
    """A typed text or a folder's name as the name of a class: one for what looks the same.

    macOS has letters and their accents apart. Where the locale is no UTF-8, bytes that are come as
    halves of surrogate pairs.
    """
    with contextlib.suppress(UnicodeError):
        text = text.encode("utf-8", "surrogateescape").decode()
    return unicodedata.normalize("NFC", text)


def differences(
    found: Mapping[str, Any], wanted: Mapping[str, Any], keys: Iterable[str]
) -> list[str]:
    """Leaves below some keys in which two JSON objects differ.

    They read as "settings.epochs is 16 there, 20 here": there is `found`, here is `wanted`.
    """
    return [line for key in keys for line in _differing(key, found.get(key), wanted.get(key))]


def _differing(name: str, found: Any, wanted: Any) -> list[str]:
    if _is_table(found) and _is_table(wanted):
        found, wanted = (dict(enumerate(rows, start=1)) for rows in (found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted({*found, *wanted})
            for line in _differing(f"{name}.{key}", found.get(key), wanted.get(key))
        ]
    if found == wanted:
        return []
    there, here = (
        one_line(json.dumps(value, ensure_ascii=False), limit=80) for value in (found, wanted)
    )
    return [f"{name} is {there} there, {here} here"]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def square_images(shape: Sequence[int], doublings: int) -> tuple[int, ...]:
    """`shape` as (S, S, channels), S a side that so many doublings end at."""
    height, width, channels = (int(size) for size in shape)
    if height != width or height % 2**doublings:
        raise InputError(
            f"image_shape must be (S, S, channels) with S a multiple of {2**doublings}, which "
            f"{doublings} doublings need, not {shape}"
        )
    return height, width, channels
