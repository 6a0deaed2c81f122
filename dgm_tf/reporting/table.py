"""Methods side by side as one table per stream, in Markdown, CSV and LaTeX."""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dgm_tf.reporting import numbers
from dgm_tf.reporting.numbers import Spread, with_spread
from dgm_tf.reporting.paper import published
from dgm_tf.reporting.run import Run, read_run

_ORDER = (
    "joint", "joint-gan", "fine-tune", "ewc", "dgr", "mergan-jtr", "mergan-ra", "dgm-w", "dgm-a"
)  # fmt: skip
_AT = (5, 10)  # the paper's tasks: the table has A_t and G_t after them, and after the last
MEASURES = (("A", "average_accuracy"), ("G", "oracle_accuracy"))


def finished_runs(*roots: str | Path) -> list[Run]:
    """Every run in `<root>/<stream>/<method>/seed<k>/` that has learnt all its tasks, in order.

    Raises:
        InputError: a run's files cannot be read.
    """
    found = [path for root in roots for path in Path(root).glob("*/*/seed*/metrics.jsonl")]
    runs = [read_run(path.parent) for path in found]
    return sorted((run for run in runs if len(run.rows) == run.tasks), key=_rank)


def _rank(run: Run) -> tuple:
    known = run.learner in _ORDER
    place = _ORDER.index(run.learner) if known else len(_ORDER)
    return run.dataset, run.scenario, place, run.learner, run.seed


def _at(run: Run, task: int, name: str) -> float | None:
    return run.rows[task - 1].get(name) if task <= len(run.rows) else None


def _at_last(run: Run, name: str) -> float | None:
    return None if run.tasks in _AT else run.rows[-1].get(name)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        title: what it is called.
        of: the quantity of a run, None where it has none; the second argument is the joint
            training of the same stream and seed, if there is one.
        percent: whether it is a share, to be shown in percent.
    """

    title: str
    of: Callable[[Run, Run | None], float | None]
    percent: bool = True


def _intransigence(run: Run, joint: Run | None) -> float | None:
    """Joint training's accuracy less the run's, at the last task (Chaudhry et al. 2018)."""
    if joint is None or joint is run:
        return None
    return joint.rows[-1]["average_accuracy"] - run.rows[-1]["average_accuracy"]


def size(run: Run) -> float | None:
    """Units of the generator over those of the worst case of the paper's Figure 2."""
    grown = numbers.growth(run.rows)
    return grown[0].units[-1][1] / grown[0].worst[-1][1] if grown else None


def _drift(run: Run, _: Run | None) -> float | None:
    """Share of the audited pixels of earlier tasks that the last task's learning has changed."""
    audited = run.rows[-1].get("audit_pixels", {})
    differing = run.rows[-1].get("audit", {})
    pixels = sum(audited[task] for task in differing)
    return sum(differing.values()) / pixels if pixels else None


COLUMNS = (
    *(
        Column(f"{letter}{task}", lambda run, _, task=task, name=name: _at(run, task, name))
        for task in _AT
        for letter, name in MEASURES
    ),
    *(
        Column(f"last {letter}", lambda run, _, name=name: _at_last(run, name))
        for letter, name in MEASURES
    ),
    Column("forgetting", lambda run, _: run.rows[-1].get("forgetting")),
    Column("BWT", lambda run, _: run.rows[-1].get("backward_transfer")),
    Column("intransigence", _intransigence),
    Column(
        "Frechet distance",
        lambda run, _: run.rows[-1].get("oracle_frechet_distance"),
        percent=False,
    ),
    Column("changed pixels", _drift),
    Column("of worst size", lambda run, _: size(run)),
    Column("minutes", lambda run, _: run.minutes, percent=False),
)


@dataclasses.dataclass(frozen=True)
class MethodRow:
    """A method's row: a cell per column, and the runs behind it, which differ in their seed."""

    method: str
    cells: tuple[Spread | None, ...]
    runs: tuple[Run, ...]


def tables(runs: Sequence[Run]) -> dict[str, list[MethodRow]]:
    """A row per method, by the stream's scenario."""
    found: dict[str, list[MethodRow]] = {}
    for scenario in dict.fromkeys(run.scenario for run in runs):
        mine = [run for run in runs if run.scenario == scenario]
        found[scenario] = [
            MethodRow(group.name, cells_of(group.runs, mine), group.runs)
            for group in numbers.groups(mine)
        ]
    return found


def cells_of(
    some: Sequence[Run], mine: Sequence[Run], columns: Sequence[Column] = COLUMNS
) -> tuple[Spread | None, ...]:
    """A cell per column over some of the runs of a stream; `mine` are all of that stream."""
    joint = {run.seed: run for run in mine if run.learner == "joint"}
    cells = []
    for column in columns:
        values = [column.of(run, joint.get(run.seed)) for run in some]
        factor = 100 if column.percent else 1
        cells.append(numbers.spread(factor * value for value in values if value is not None))
    return tuple(cells)


def _used(rows: Sequence[MethodRow]) -> list[int]:
    """Columns in which any row has a number."""
    return [i for i in range(len(COLUMNS)) if any(row.cells[i] for row in rows)]


def markdown(runs: Sequence[Run]) -> str:
    """A table per stream: mean and deviation over seeds, the paper's numbers, every seed, commands.

    Percent, save for the Frechet distance (in the oracle's features) and minutes.
    """
    parts = []
    for scenario, rows in tables(runs).items():
        used = _used(rows)
        mine = [run for row in rows for run in row.runs]
        header = ["method", "n", *(COLUMNS[i].title for i in used), "the paper's A5, A10"]
        lines = []
        for row in rows:
            cells = [with_spread(row.cells[i]) for i in used]
            lines.append([row.method, str(len(row.runs)), *cells, _papers(row.runs[0])])
            if len(row.runs) > 1:
                for run in row.runs:
                    cells = [with_spread(cells_of([run], mine)[i]) for i in used]
                    lines.append([f"- seed {run.seed}", "", *cells, ""])
        commands = made_by(run.description["command"] for row in rows for run in row.runs)
        title = f"{scenario[:1].upper()}{scenario[1:]}."
        parts.append(f"{title}\n\n{markdown_table(header, lines)}\n\n{commands}")
    return "\n\n".join(parts)


def _papers(run: Run) -> str:
    classes = [len(task) for task in run.stream["task_classes"]]
    found = published(run.dataset, run.learner, classes)
    if found is None:
        return ""
    measure = "" if found.key == "average_accuracy" else " (G)"
    return ", ".join(f"{number:.2f}" for number in found.percent.values()) + measure


def made_by(commands: Iterable[str]) -> str:
    """The commands that a table's numbers come from, as they stand below it."""
    return "\n".join(["Made by", "", *(f"    {command}" for command in commands)])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells below a header."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def as_csv(runs: Sequence[Run]) -> str:
    """A line per method and column: scenario, method, measure, mean, deviation, n."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scenario", "method", "measure", "mean", "deviation", "n"])
    for scenario, rows in tables(runs).items():
        for row in rows:
            for column, cell in zip(COLUMNS, row.cells, strict=True):
                if cell is not None:
                    deviation = "" if cell.deviation is None else f"{cell.deviation:.4f}"
                    writer.writerow(
                        [
                            scenario,
                            row.method,
                            column.title,
                            f"{cell.mean:.4f}",
                            deviation,
                            cell.n,
                        ]
                    )
    return text.getvalue()


def latex(runs: Sequence[Run]) -> str:
    """A `tabular` per stream, the scenario in the caption."""
    parts = []
    for scenario, rows in tables(runs).items():
        used = _used(rows)
        lines = [
            r"\begin{table}",
            rf"\caption{{{_escaped(scenario)}; mean and standard "
            r"deviation in percent, $n$ seeds.}",
            rf"\begin{{tabular}}{{lr{'r' * len(used)}}}",
            " & ".join(["method", "$n$", *(COLUMNS[i].title for i in used)]) + r" \\",
            r"\hline",
        ]
        for row in rows:
            cells = [with_spread(row.cells[i]).replace("±", r"$\pm$") for i in used]
            title = _escaped(row.method)
            lines.append(" & ".join([title, str(len(row.runs)), *cells]) + r" \\")
        parts.append("\n".join([*lines, r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "_%&#$" else letter for letter in text)
