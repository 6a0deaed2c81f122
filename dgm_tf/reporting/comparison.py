"""Methods next to each other: a row each, over seeds, as text, Markdown, CSV and LaTeX."""

import csv
import io
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from dgm_tf.methods.registry import METHODS, is_private
from dgm_tf.reporting import numbers
from dgm_tf.reporting.numbers import Group, Spread
from dgm_tf.reporting.run import Row, Run
from dgm_tf.reporting.tables import (
    UNDEFINED,
    Table,
    audit_verdicts,
    markdown_table,
    plain,
    text_table,
)

_SEED = "- seed"
# What LaTeX would read as a command.
_LATEX = str.maketrans(
    {letter: f"\\{letter}" for letter in "_%&#${}"}
    | {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "±": r"$\pm$"}
)
# By `is_private`: the sign of a method and what it says.
_SIGNS = {
    False: (" *", "* keeps or reads real images of earlier tasks: no private memory"),
    None: (
        " ?",
        "? a method that is not known here, so that nothing is claimed of its privacy: "
        "DGM_METHODS=MODULE before the command makes it known",
    ),
}


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Runs as tables have them: by stream and method, DGM last, and by seed."""
    return sorted(runs, key=_rank)


def _rank(run: Run) -> tuple:
    # Upper bounds, the floor, earlier methods, ours.
    order = sorted(METHODS, key=lambda name: name == "dgm")
    method, _, variant = run.learner.partition("-")
    place = order.index(method) if method in order else len(order)
    return run.dataset, run.scenario, place, variant == "a", run.learner, run.seed


_AT = (5, 10)  # the paper's tasks: the table has A_t and G_t after them, and after the last
_MEASURES = {"A": "average_accuracy", "G": "oracle_accuracy"}


def measures(run: Run, joint: Run | None = None) -> dict[str, float | None]:
    """The table's numbers of a run after its last task, by the titles of their columns.

    Args:
        run: with at least one task.
        joint: the joint training of the same stream, seed and number of tasks, if there is one.

    Returns:
        Percent, except for the Frechet distance (in the oracle's features) and minutes; None for
        what the run has not.
    """
    rows, last = run.rows, run.rows[-1]
    fractions = {
        f"{letter}{task}": rows[task - 1].get(key) if task <= len(rows) else None
        for task in _AT
        for letter, key in _MEASURES.items()
    }
    for letter, key in _MEASURES.items():
        fractions[f"last {letter}"] = None if len(rows) in _AT else last.get(key)
    accuracies = [row["average_accuracy"] for row in rows]
    fractions["mean A"] = None if None in accuracies else statistics.fmean(accuracies)
    fractions["forgetting"] = last["forgetting"]
    fractions["BWT"] = last["backward_transfer"]
    fractions["gap to joint"] = joint and _gap(joint, run)
    fractions["changed pixels"] = _changed(last)
    fractions["of worst size"] = _of_worst(rows)
    return {title: value and 100 * value for title, value in fractions.items()} | {
        "Frechet distance": last.get("oracle_frechet_distance"),
        "minutes": sum(row["seconds"] for row in rows) / 60,
    }


def _gap(joint: Run, run: Run) -> float:
    """Joint training's accuracy minus the run's, on the classes seen."""
    return joint.rows[-1]["average_accuracy"] - run.rows[-1]["average_accuracy"]


def _changed(last: Row) -> float | None:
    """Fraction of the audited pixels of earlier tasks that the last task's learning has changed."""
    audited, differing = last["audit_pixels"], last["audit"]
    pixels = sum(audited.get(task, 0) for task in differing)
    return sum(differing.values()) / pixels if pixels else None


def _of_worst(rows: Sequence[Row]) -> float | None:
    """Units of the generator over those of the worst case of the paper's Figure 2."""
    units = numbers.growth(rows).get(numbers.ALL_LAYERS)
    return units[-1][1] / numbers.worst_case(units)[-1][1] if units else None


def cells_of(group: Group, every: Sequence[Run]) -> dict[str, Spread | None]:
    """Means and deviations by column, after the last task that all runs of a group have finished.

    Args:
        group: runs that differ in their seed.
        every: all runs, the joint training of the same stream among them. Of several, by other
            settings, none counts.

    Returns:
        None for a number that one of them has not; empty where one has no task.
    """
    tasks = group.learnt
    if not tasks:
        return {}
    joint: dict[tuple[str, int], list[Run]] = {}
    for run in every:
        if run.learner == "joint" != group.runs[0].learner and len(run.rows) >= tasks:
            joint.setdefault((run.scenario, run.seed), []).append(run.up_to(tasks))
    only = {key: found[0] for key, found in joint.items() if len(found) == 1}
    each = [measures(run.up_to(tasks), only.get((run.scenario, run.seed))) for run in group.runs]
    values = {title: [found[title] for found in each] for title in each[0]}
    return {
        title: None if None in found else numbers.spread(found) for title, found in values.items()
    }


def compared(groups: Sequence[Group]) -> Table:
    """A row per method, with all that tells how far its runs can be compared."""
    further: dict[str, Callable[[Group], str]] = {
        "tasks": lambda group: f"{group.learnt} of {group.runs[0].tasks}",
        "steps": _steps,
        "kept, MB": _kept,
        "exact memories": _exact,
    }
    if any(group.runs[0].published for group in groups):
        further["the paper's A5, A10"] = papers
    return method_table(groups, further)


def _steps(group: Group) -> str:
    """Training steps of all tasks that are finished, those of consolidation included."""
    counts = [row["steps"] for row in group.runs[0].rows[: group.learnt]]
    return UNDEFINED if None in counts else plain(sum(counts))


def _kept(group: Group) -> str:
    """Megabytes that a run saves to go on after the last task that all runs have finished."""
    sizes = [run.up_to(group.learnt).kept_bytes for run in group.runs]
    return UNDEFINED if None in sizes else f"{statistics.fmean(sizes) / 1e6:.2f}"


def _exact(group: Group) -> str:
    """Number of earlier tasks that the audit finds identical, of all."""
    rows = [run.up_to(group.learnt).rows for run in group.runs]
    verdicts = [text for each in rows for text in audit_verdicts(each).values()]
    same = sum(verdict.startswith("identical") for verdict in verdicts)
    return f"{same} of {len(verdicts)}" if verdicts else UNDEFINED


def as_text(runs: Sequence[Run]) -> str:
    """A table per stream with a row per method, as text."""
    parts = []
    for scenarios, groups in _by_stream(runs):
        table = compared(groups)
        parts.append("\n".join([*scenarios, text_table(*table), *_signs(table.rows)]))
    return "\n\n".join(parts)


def method_table(groups: Sequence[Group], further: Mapping[str, Callable[[Group], str]]) -> Table:
    """A row per method, without columns in which no method has a number.

    A star marks a method that keeps or reads real images of earlier tasks, a question mark one
    that is not registered.

    Args:
        groups: a method's runs each.
        further: columns at the end.
    """
    every = [run for group in groups for run in group.runs]
    rows = [cells_of(group, every) for group in groups]
    titles = dict.fromkeys(title for cells in rows for title in cells)
    titles = [title for title in titles if any(cells.get(title) for cells in rows)]
    lines = [
        [
            _starred(group),
            str(len(group.runs)),
            *(_with_spread(cells.get(title)) for title in titles),
            *(of(group) for of in further.values()),
        ]
        for group, cells in zip(groups, rows, strict=True)
    ]
    return Table(["method", "n", *titles, *further], lines)


def _starred(group: Group) -> str:
    private = group.name.startswith(_SEED) or is_private(group.runs[0].learner)
    return group.name if private else group.name + _SIGNS[private][0]


def _signs(rows: Sequence[Sequence[str]]) -> list[str]:
    """What the signs behind the methods' names say."""
    names = [cells[0] for cells in rows]
    return [says for sign, says in _SIGNS.values() if any(n.endswith(sign) for n in names)]


def papers(group: Group) -> str:
    """The paper's numbers for a method, with (G) where they are of generated images."""
    if (paper := group.runs[0].published) is None:
        return ""
    measure = "" if paper.key == "average_accuracy" else " (G)"
    return ", ".join(f"{number:.2f}" for number in paper.percent.values()) + measure


def _by_stream(runs: Sequence[Run]) -> list[tuple[list[str], list[Group]]]:
    """The scenarios and groups of each stream, which is what a table holds.

    It has several scenarios where each seed shuffles the classes, or where its folder was moved.
    """
    streams: dict[str, list[Run]] = {}
    for run in runs:
        streams.setdefault(numbers.stream_key(run), []).append(run)
    return [
        (list(dict.fromkeys(run.scenario for run in found)), numbers.groups(found))
        for found in streams.values()
    ]


def markdown(runs: Sequence[Run], *, commands: bool = True) -> str:
    """A table per stream: each method, its seeds, the paper's numbers, and the commands below."""
    parts = []
    for scenarios, groups in _by_stream(runs):
        rows = []
        for group in groups:
            rows.append(group)
            if len(group.runs) > 1:
                rows += [Group(f"{_SEED} {run.seed}", (run,)) for run in group.runs]
        table = method_table(rows, {"the paper's A5, A10": papers})
        for cells in table.rows:
            if cells[0].startswith(_SEED):
                cells[1] = cells[-1] = ""
        lines = [f"    {run.description['command']}" for group in groups for run in group.runs]
        made_by = "\n".join(["\n\nMade by", "", *lines]) if commands else ""
        title = " ".join(f"{scenario[:1].upper()}{scenario[1:]}." for scenario in scenarios)
        told = [says.replace("*", r"\*") for says in _signs(table.rows)]
        legend = "".join(f"\n\n{says}." for says in told)
        parts.append(f"{title}\n\n{markdown_table(*table)}{legend}{made_by}")
    return "\n\n".join(parts)


def as_csv(runs: Sequence[Run]) -> str:
    """A line per method and column: scenario, method, measure, mean, deviation, n."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["scenario", "method", "measure", "mean", "deviation", "n"])
    for scenarios, groups in _by_stream(runs):
        every = [run for group in groups for run in group.runs]
        for group in groups:
            for title, cell in cells_of(group, every).items():
                if cell is not None:
                    deviation = "" if cell.deviation is None else f"{cell.deviation:.4f}"
                    start = ["; ".join(scenarios), group.name, title]
                    writer.writerow([*start, f"{cell.mean:.4f}", deviation, cell.n])
    return text.getvalue()


def latex(runs: Sequence[Run]) -> str:
    """A `tabular` per stream, the scenario in the caption."""
    parts = []
    for scenarios, groups in _by_stream(runs):
        header, rows = method_table(groups, {})
        told = "".join(f"; {says}" for says in _signs(rows))
        told = f"mean and standard deviation of $n$ seeds{told}."
        caption = "; ".join([*map(_escaped, scenarios), told])
        lines = [" & ".join(map(_escaped, cells)) + r" \\" for cells in (header, *rows)]
        parts += [
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            lines[0],
            r"\hline",
            *lines[1:],
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    return "\n".join(parts)


def _escaped(text: str) -> str:
    return text.translate(_LATEX)


def _with_spread(value: Spread | None) -> str:
    """Mean ± sample standard deviation; only the mean where n = 1."""
    if value is None:
        return UNDEFINED
    text = f"{value.mean:,.2f}"
    return text if value.deviation is None else f"{text} ± {value.deviation:,.2f}"
