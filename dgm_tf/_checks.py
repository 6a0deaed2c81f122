"""Checks on what a user passes in; each raises `InputError` with its one line."""

import numbers
import operator
from collections.abc import Sequence
from typing import Any

from dgm_tf.errors import InputError


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


def number(value: Any, name: str, *, low: float) -> float:
    """`value` as a finite float of at least `low`; bools and texts are none."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (real and low <= value < float("inf")):
        raise InputError(f"{name} must be a number of at least {low}, got {value!r}")
    return float(value)


def share(value: Any, name: str, *, zero: bool) -> float:
    """`value` as a float below 1, and above 0 unless `zero` lets that in too."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not (0.0 < number < 1.0 or (zero and number == 0.0)):
        wanted = "of at least 0 and below 1" if zero else "between 0 and 1"
        raise InputError(f"{name} must be a number {wanted}, got {value!r}")
    return number


def image_size(value: Any) -> int:
    """The side of square images that generator and critic can halve three times."""
    number = integer(value, "image_size", low=16)
    if number % 8:
        raise InputError(f"image_size must be a multiple of 8, got {number}")
    return number


def one_line(text: object, limit: int = 300) -> str:
    """Foreign text (a library's error, a file name) fit to stand within one line."""
    flat = " ".join(str(text).split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


def square_images(shape: Sequence[int]) -> tuple[int, ...]:
    """`shape` as (S, S, channels), S a multiple of 8, which three doublings need."""
    sizes = tuple(int(size) for size in shape)
    if sizes[0] != sizes[1] or sizes[0] % 8:
        raise InputError(
            f"image_shape must be (S, S, channels) with S a multiple of 8, not {shape}"
        )
    return sizes
