"""What other settings bring at one task: a table from what `trainers.relearn` has left."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgm_tf.reporting import findings, table
from dgm_tf.reporting.findings import percent

BEGIN, END = "<!-- relearned:begin -->", "<!-- relearned:end -->"
FOLDER = "relearned"

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
        its = findings.read(path, trainer="relearn")
        found.setdefault(json.dumps([_name(its), its["task"], its["before"]]), []).append(its)
    if not found:
        return ""
    rows = []
    for group in found.values():
        first = group[0]
        where = [_name(first), str(first["task"])]
        rows.append([*where, "nothing", *_cells(first["before"])])
        rows += [[*where, _changes(its), *_cells(its["again"])] for its in group]
    commands = table.made_by(its["command"] for group in found.values() for its in group)
    return f"{table.markdown_table(_HEADER, rows)}\n\n{commands}"


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
        percent(outcome["accuracy"]),
        percent(outcome["own_accuracy"]),
        percent(mean("recognised")),
        f"{mean('frechet_distance'):.2f}",
        percent(mean("precision")),
        percent(mean("recall")),
    ]
