"""Where runs lose accuracy: tables from what `trainers.dissect` has left beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgm_tf.errors import InputError
from dgm_tf.reporting import findings, table, variations
from dgm_tf.reporting.findings import percent
from dgm_tf.reporting.run import Run, read_run

BEGIN, END = "<!-- dissections:begin -->", "<!-- dissections:end -->"
FILE = "dissection.json"
# With other steps, say, beside the first: dissection-3600.json.
_FILES = "dissection*.json"

_ARMS = {
    "real": "real images",
    "recognised": "recognised ones",
    "generated": "generated ones",
    "real newest": "real newest, generated old",
}


def markdown(root: str | Path) -> str:
    """A table of the runs below `root` that have been taken apart, and one of classes for each.

    Percent, save for Frechet distances. Classes are those of `FILE`.

    Raises:
        InputError: no run has been taken apart, or what was found cannot be read.
    """
    paths = sorted(Path(root).rglob(_FILES), key=lambda path: (path.parent, path.name != FILE))
    found = [
        (path, read_run(path.parent), findings.read(path, trainer="dissect")) for path in paths
    ]
    if not found:
        raise InputError(
            f"no {FILE} below {root}: write one by python -m trainers.dissect --run_dir=RUN "
            f"--out=RUN/{FILE}"
        )
    header = ["run", "after task", "steps", *_ARMS.values(), "the run's own", "recognised"]
    lines = [table.line(header), table.line(["---"] * len(header))]
    lines += [table.line(_line(run, its)) for _, run, its in found]
    classes = [_classes(run, its) for path, run, its in found if path.name == FILE]
    return "\n\n".join(["\n".join(lines), *classes])


def _line(run: Run, found: Mapping[str, Any]) -> list[str]:
    arms = [found["arms"].get(name) for name in _ARMS]
    shares = [its["recognised"] for its in found["quality"].values()]
    return [
        _name(run),
        str(found["task"]),
        str(found["steps"]),
        *("n/a" if arm is None else percent(arm["accuracy"]) for arm in arms),
        percent(found["own"]["accuracy"]),
        percent(sum(shares) / len(shares)),
    ]


def _classes(run: Run, found: Mapping[str, Any]) -> str:
    """A column per class."""
    quality = found["quality"]
    arms = found["arms"]
    rows = {
        "generated images recognised": [percent(its["recognised"]) for its in quality.values()],
        "Frechet distance": [f"{its['frechet_distance']:.2f}" for its in quality.values()],
        "precision": [percent(its["precision"]) for its in quality.values()],
        "recall": [percent(its["recall"]) for its in quality.values()],
        "accuracy, real images": _by_class(arms["real"], quality),
        "accuracy, generated ones": _by_class(arms["generated"], quality),
    }
    header = ["class", *quality]
    lines = [table.line(header), table.line(["---"] * len(header))]
    lines += [table.line([title, *cells]) for title, cells in rows.items()]
    return f"{_name(run)}, class by class:\n\n" + "\n".join(lines)


def _by_class(arm: Mapping[str, Any], classes: Mapping[str, Any]) -> list[str]:
    return [percent(arm["class_accuracy"][label]) for label in classes]


def _name(run: Run) -> str:
    name = variations.name_of(run)
    return f"{run.dataset}, {run.method}, seed {run.seed}{f' ({name})' if name else ''}"
