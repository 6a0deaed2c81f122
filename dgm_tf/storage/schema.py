"""Schemas of JSON that anyone can have written.

A schema is a `Leaf`; a list of one schema, for a list of any length; or a dictionary, for an object
that has these keys. A key that ends in `?` may be missing, and `ANY` stands for all the others.

    {"name": LINE, "sizes?": [integer(1)], "means": {ANY: NUMBER}}
"""

import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from dgm_tf import _checks
from dgm_tf.storage.files import read_text

ANY = "*"

_LARGEST = 2**63 - 1  # anything counted or measured is smaller


class Leaf(NamedTuple):
    """A kind of value: its name in an error, and a test for it."""

    text: str
    fits: Callable[[Any], bool]

    def __or__(self, other: "Leaf") -> "Leaf":
        return Leaf(f"{self.text} or {other.text}", lambda it: self.fits(it) or other.fits(it))


def integer(low: int = 0, high: int = _LARGEST) -> Leaf:
    """An integer in [low, high]; a bool is none."""
    return Leaf(
        f"an integer from {low} to {high}", lambda it: type(it) is int and low <= it <= high
    )


def exactly(value: Any) -> Leaf:
    """This value and no other."""
    return Leaf(json.dumps(value), lambda it: type(it) is type(value) and it == value)


NULL = exactly(None)
# NaN compares as false.
NUMBER = Leaf("a number", lambda it: type(it) in (int, float) and abs(it) <= _LARGEST)
POSITIVE = Leaf("a number above 0", lambda it: NUMBER.fits(it) and it > 0)
TEXT = Leaf("a text", lambda it: isinstance(it, str))
LINE = Leaf("a text of one line", _checks.is_line)
IMAGE_SHAPE = Leaf(
    "a list of three sizes",
    lambda it: isinstance(it, list) and len(it) == 3 and all(map(integer(1, 2**16).fits, it)),
)


def read(path: str | os.PathLike[str], schema: Any, *, limit: int) -> Any:
    """Reads a JSON file of at most `limit` bytes that fits a schema.

    Raises:
        ValueError, RecursionError: it does not, or is too long.
        OSError: it cannot be read.
    """
    content = json.loads(read_text(path, limit=limit))
    check(content, schema)
    return content


def check(content: Any, schema: Any) -> None:
    """Refuses a content that does not fit a schema with a ValueError that says where."""
    # What JSON can say and UTF-8 cannot: half of a surrogate pair.
    json.dumps(content, ensure_ascii=False).encode()
    _check(content, schema, "")


def _check(value: Any, schema: Any, place: str) -> None:
    if isinstance(schema, Leaf):
        _require(schema.fits(value), place, schema.text)
    elif isinstance(schema, list):
        _require(isinstance(value, list), place, "a list")
        for index, item in enumerate(value):
            _check(item, schema[0], f"{place}[{index}]")
    else:
        _require(isinstance(value, dict), place, "an object")
        _check_object(value, schema, place)


def _check_object(value: dict[str, Any], schema: dict[str, Any], place: str) -> None:
    named = {key.removesuffix("?"): inner for key, inner in schema.items() if key != ANY}
    for key, inner in named.items():
        if key in value:
            _check(value[key], inner, f"{place}.{key}")
        else:
            _require(f"{key}?" in schema, f"{place}.{key}", "there")
    if ANY in schema:
        for key in value.keys() - named.keys():
            _check(value[key], schema[ANY], f"{place}.{key}")


def _require(fits: bool, place: str, text: str) -> None:
    if not fits:
        raise ValueError(f"{place.lstrip('.') or 'it'} is not {text}")
