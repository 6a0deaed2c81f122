"""Settings in a file or in a text, as a search or a run leaves them. Needs no TensorFlow."""

import codecs
import dataclasses
import difflib
import json
from pathlib import Path
from typing import Any

from dgm_tf._checks import one_line, reason
from dgm_tf.errors import InputError
from dgm_tf.methods.presets import PRESETS
from dgm_tf.methods.registry import METHODS
from dgm_tf.storage import paths

PRESET = "preset"
_MOST_BYTES = 2**24


def read(source: str | Path) -> dict[str, Any]:
    """The settings of a file or a text, by name; `preset` may be among them.

    The methods' settings check the values, but whole numbers already stand for real ones.

    Args:
        source: a JSON object such as `{"alignment": 0.1}`, or a file that holds one; the
            settings.json of a run will do.

    Raises:
        InputError: the file cannot be read, there is no JSON object, or one of its keys is no
            setting of any method.
    """
    content = _json(source)
    if isinstance(content.get("settings"), dict) and "learner" in content:
        content = content["settings"]  # of a run
    types = {
        field.name: field.type
        for method in METHODS.values()
        for field in dataclasses.fields(method.settings)
    }
    for name in content:
        if name not in (PRESET, *types):
            close = difflib.get_close_matches(name, [PRESET, *types], n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{source} has {one_line(name, 60)!r}, which is no setting{hint}")
    if content.get(PRESET, PRESETS[0]) not in PRESETS:
        raise InputError(
            f"{source}: preset must be {' or '.join(PRESETS)}, not {content[PRESET]!r}"
        )
    try:
        return {
            name: float(value) if types.get(name) is float and type(value) is int else value
            for name, value in content.items()
        }
    except OverflowError as error:
        raise InputError(f"{one_line(source, 100)} has a number that is too large") from error


def _json(source: str | Path) -> dict[str, Any]:
    try:
        inline = str(source).lstrip().startswith("{")
        text = str(source) if inline else text_of(source)
        content = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        shown = one_line(source, 100)
        raise InputError(f"cannot read --settings={shown}: {reason(error)}") from error
    if not isinstance(content, dict):
        raise InputError(
            f'expected a JSON object such as {{"s_max": 1000}} in {source}, it holds '
            f"{one_line(json.dumps(content), 60)}"
        )
    return content


def text_of(path: str | Path) -> str:
    """The text of a file that people write: UTF-8, or UTF-16 with the mark that PowerShell writes.

    Raises:
        InputError: it is no path.
        OSError: it cannot be read.
        ValueError: it is no such text, or of more than 16 MiB.
    """
    with open(paths.expanded(path), "rb") as file:
        content = file.read(_MOST_BYTES + 1)  # A device has no end.
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES // 2**20} MiB")
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8-sig")
