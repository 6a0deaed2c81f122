"""Whole runs by other settings than today's: a table of what was changed and what came of it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from dgm_tf.reporting import numbers, table
from dgm_tf.reporting.run import Run, read_run
from dgm_tf.settings import settings_for

BEGIN, END = "<!-- variations:begin -->", "<!-- variations:end -->"
FOLDER = "variations"

_COLUMNS = (
    *(
        table.Column(letter, lambda run, _, name=name: run.rows[-1].get(name))
        for letter, name in table.MEASURES
    ),
    *(
        column
        for column in table.COLUMNS
        if column.title in ("Frechet distance", "of worst size", "minutes")
    ),
)


def runs(root: str | Path) -> list[Run]:
    """The finished runs in `<root>/variations/<name>/<stream>/<learner>/seed<k>/`, by name.

    Raises:
        InputError: one cannot be read.
    """
    paths = sorted(Path(root).glob(f"{FOLDER}/*/*/*/seed*/settings.json"))
    found = [read_run(path.parent) for path in paths]
    return [run for run in found if len(run.rows) == run.tasks]


def markdown(found: Sequence[Run]) -> str:
    """A line per run, as it ended, and the commands; empty without runs. Shares in percent."""
    if not found:
        return ""
    header = [
        "name", "data set", "tasks", "method", "seed", "other settings than today's",
        *(column.title for column in _COLUMNS),
    ]  # fmt: skip
    rows = []
    for run in found:
        where = [name_of(run), run.dataset, str(run.tasks), run.method, str(run.seed)]
        rows.append([*where, "; ".join(changes(run)), *_cells(run)])
    commands = table.made_by(dict.fromkeys(run.description["command"] for run in found))
    return f"{table.markdown_table(header, rows)}\n\n{commands}"


def name_of(run: Run) -> str:
    """The folder that a run among `runs` stands in, such as "output-width"; empty for another."""
    match run.path.parts[-5:-3]:
        case (folder, name) if folder == FOLDER:
            return name
    return ""


def changes(run: Run) -> list[str]:
    """The settings in which a run differs from what it would have today: "epochs 3 for 16".

    Empty for a learner that is not one of `METHODS`, of which nobody knows what it would have.
    """
    its, method = run.all_settings, run.method_name
    if method is None:
        return []
    todays = settings_for(run.dataset, its.get("variant"), method=method, seed=run.seed)
    return [
        f"{name} {its.get(name, 'unknown')} for {value}"
        for name, value in dataclasses.asdict(todays).items()
        if name not in its or its[name] != value
    ]


def _cells(run: Run) -> list[str]:
    return [numbers.with_spread(cell) for cell in table.cells_of([run], [run], _COLUMNS)]
