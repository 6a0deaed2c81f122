"""What other settings bring at one task: a table from what `trainers.relearn` has left."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.reporting import table
from dgm_tf.storage.files import read_text

BEGIN, END = "<!-- relearned:begin -->", "<!-- relearned:end -->"
FOLDER = "relearned"

_MAX_BYTES = 1 << 20
_HEADER = (
    "run", "task", "changed", "A", "its classes' A", "recognised", "Frechet distance", "precision",
    "recall",
)  # fmt: skip


def markdown(root: str | Path) -> str:
    """A line for each file in `<root>/relearned/`, below one for the task as its run has learnt it.

    Percent, save for Frechet distances; means over the task's classes. Empty without files.

    Raises:
        InputError: a file cannot be read.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for path in sorted(Path(root).glob(f"{FOLDER}/*.json")):
        its = _read(path)
        found.setdefault(json.dumps([_name(its), its["task"], its["before"]]), []).append(its)
    if not found:
        return ""
    lines = [table.line(_HEADER), table.line(["---"] * len(_HEADER))]
    for group in found.values():
        first = group[0]
        where = [_name(first), str(first["task"])]
        lines.append(table.line([*where, "nothing", *_cells(first["before"])]))
        lines += [table.line([*where, _changes(its), *_cells(its["again"])]) for its in group]
    commands = [f"    {its['command']}" for group in found.values() for its in group]
    return "\n".join([*lines, "", "Made by", "", *commands])


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(read_text(path, limit=_MAX_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path}, write it anew by trainers.relearn: {_checks.one_line(error)}"
        ) from error


def _name(its: Mapping[str, Any]) -> str:
    return f"{its['dataset']}, {its['learner']}, seed {its['settings']['seed']}"


def _changes(its: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} {value}, was {its['settings'][name]}" for name, value in its["changes"].items()
    )


def _cells(outcome: Mapping[str, Any]) -> list[str]:
    classes = outcome["quality"].values()

    def mean(measure: str) -> float:
        return statistics.fmean(its[measure] for its in classes)

    return [
        _percent(outcome["accuracy"]),
        _percent(outcome["own_accuracy"]),
        _percent(mean("recognised")),
        f"{mean('frechet_distance'):.2f}",
        _percent(mean("precision")),
        _percent(mean("recall")),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
