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
_CLASSIFIERS = ("run", "after task", "steps", *_ARMS.values(), "the run's own")
_ACCURACY = (*_CLASSIFIERS, "generated images recognised", "real ones recognised")
_NEWEST = (*_CLASSIFIERS, "are of them")


def markdown(root: str | Path) -> str:
    """Tables of the runs below `root` that have been taken apart, and one of classes for each.

    One has what the classifiers reach, the other how much of the test set they call the newest
    classes. Percent, save for Frechet distances. Classes are those of `FILE`.

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
    runs = [(run, its) for _, run, its in found]
    return "\n\n".join(
        [
            "A, by what a classifier is trained on:",
            table.markdown_table(_ACCURACY, [_accuracies(*each) for each in runs]),
            "Share of the test set that it takes for the newest task's classes:",
            table.markdown_table(_NEWEST, [_newest_shares(*each) for each in runs]),
            *(_classes(run, its) for path, run, its in found if path.name == FILE),
        ]
    )


def _accuracies(run: Run, found: Mapping[str, Any]) -> list[str]:
    shares = [its["recognised"] for its in found["quality"].values()]
    return [
        *_classifiers(run, found, "accuracy"),
        percent(sum(shares) / len(shares)),
        percent(found["oracle_test_accuracy"]),
    ]


def _newest_shares(run: Run, found: Mapping[str, Any]) -> list[str]:
    return [*_classifiers(run, found, "newest_share"), percent(found["newest_in_test"])]


def _classifiers(run: Run, found: Mapping[str, Any], measure: str) -> list[str]:
    """Which run and what its classifiers have."""
    arms = [found["arms"].get(name) for name in _ARMS]
    return [
        _name(run),
        str(found["task"]),
        str(found["steps"]),
        *("n/a" if arm is None else percent(arm[measure]) for arm in arms),
        percent(found["own"][measure]),
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
    lines = [[title, *cells] for title, cells in rows.items()]
    classes = table.markdown_table(["class", *quality], lines)
    return f"{_name(run)}, class by class:\n\n{classes}"


def _by_class(arm: Mapping[str, Any], classes: Mapping[str, Any]) -> list[str]:
    return [percent(arm["class_accuracy"][label]) for label in classes]


def _name(run: Run) -> str:
    name = variations.name_of(run)
    return f"{run.dataset}, {run.method}, seed {run.seed}{f' ({name})' if name else ''}"
