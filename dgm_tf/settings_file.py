"""Settings in a file, as a search or a run leaves them. Needs no TensorFlow."""

import dataclasses
import difflib
import json
from pathlib import Path
from typing import Any

from dgm_tf._checks import one_line
from dgm_tf.errors import InputError
from dgm_tf.settings import METHODS, PRESETS, method_of, recorded_values, typed

PRESET = "preset"


def read(path: str | Path) -> dict[str, Any]:
    """The settings of a file, by name; `preset` may be among them.

    The values are checked where they are used, but whole numbers stand for real ones.

    Args:
        path: a JSON object of settings, or the settings.json of a run, which has them all: where it
            is older than one of them, what was done then.

    Raises:
        InputError: the file cannot be read, is no JSON object, or has a key that is no setting of
            any method.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read --settings={path}: {one_line(reason)}") from error
    if not isinstance(content, dict):
        raise InputError(
            f'expected a JSON object such as {{"s_max": 1000}} in {path}, it holds '
            f"{one_line(json.dumps(content), 60)}"
        )
    if _is_of_a_run(content):
        content = _of_a_run(content)
    types = {
        field.name: field.type for kind in METHODS.values() for field in dataclasses.fields(kind)
    }
    for name in content:
        if name not in (PRESET, *types):
            close = difflib.get_close_matches(name, [PRESET, *types], n=1)
            hint = f", did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{path} has {one_line(name, 60)!r}, which is no setting{hint}")
    if content.get(PRESET, PRESETS[0]) not in PRESETS:
        raise InputError(f"{path}: preset must be {' or '.join(PRESETS)}, not {content[PRESET]!r}")
    return typed(content, types)


def _is_of_a_run(content: dict[str, Any]) -> bool:
    return isinstance(content.get("settings"), dict) and "learner" in content


def _of_a_run(content: dict[str, Any]) -> dict[str, Any]:
    method = method_of(str(content["learner"]))
    if method not in METHODS:
        return content["settings"]
    return recorded_values(METHODS[method], content["settings"])
