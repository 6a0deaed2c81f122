"""Tables of one run, as it prints them at its end, and cells as text.

A committed run prints the same report as the run that made it, since all come from the rows of
metrics.jsonl. A value that is missing or not defined is "n/a", never 0.

A row has the keys `task` (from 1), `class_accuracy`, `average_accuracy`, `forgetting`,
`backward_transfer`, `newest_class_share` (`predictions` and `test_set`), `epochs`, `steps`,
`seconds`, `evaluation_seconds`, `last_epoch`, `audit` (differing pixels by earlier task) and
`audit_pixels` (pixels compared by task). It may have `peak_memory_mib` and `history`; with a
generator `generator_parameters`; with one that grows `layer_widths`, `initial_layer_widths`,
`free_fraction`, `layers` (of each layer `free` and `initial_free`) and `mask_overlap`; with an
oracle `oracle_accuracy` and others. Layer sizes are those after the growth that follows the task.
Accuracies and fractions are 0 to 1.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from dgm_tf._checks import one_line
from dgm_tf.evaluation.sampling import AUDITED
from dgm_tf.reporting.numbers import by_class, worst_units
from dgm_tf.reporting.run import Row, Run
from dgm_tf.runs.run_folder import RunFolder

UNDEFINED = "n/a"
_NOT_MEASURED = "-"
_FIRST_ROWS, _LAST_ROWS = 5, 35  # of a table that would be longer
_NEWEST = "the newest, no later task yet"


Names = Mapping[int, str]  # of classes by id; empty where they are not known
_NO_NAMES: Names = MappingProxyType({})


class Table(NamedTuple):
    """Cells below a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


# One run.


def run_report(run: Run) -> str:
    """Everything a run prints at its end."""
    rows = run.rows
    if not rows:
        return f"{run.scenario}\nno task finished yet"
    names = run.class_names
    parts = [
        run.scenario,
        "Accuracy on the real test images of all classes seen, in percent (mean over classes; "
        f"last epoch)\n{text_table(*accuracy_table(rows, names))}",
    ]
    if "layer_widths" in rows[0]:
        growth = text_table(*growth_table(rows, names))
        parts.append(f"Growth of the generator, in units per block\n{growth}")
    parts.append(f"Time and memory\n{text_table(*cost_table(rows, names))}")
    if run.is_open:
        parts.append(f"Classes\n{text_table(*class_table(rows, names))}")
    elif "generator_parameters" in rows[0]:
        verdicts = {**audit_verdicts(rows), rows[-1]["task"]: _NEWEST}
        lines = [[f"task {task}: {verdict}"] for task, verdict in verdicts.items()]
        parts.append(
            "Memory audit: fixed images of each task, generated again after every later task\n"
            + "\n".join(line for (line,) in folded(lines))
        )
    if (samples := RunFolder(run.path).samples).is_dir():
        parts.append(f"Pictures: {samples}/")
    return "\n\n".join(parts)


def accuracy_table(rows: Sequence[Row], names: Names = _NO_NAMES) -> Table:
    """A_t, G_t, forgetting and backward transfer per task in percent, with two warnings.

    G_t, the fraction of generated images that an oracle recognises, is there where one was asked.
    The warnings are the lowest class accuracy, which a mean hides, and the fraction of predictions
    on the newest task's classes against their fraction of the test set: the first far above the
    second means that the critic takes "real" for "newest class".
    """
    keys = {
        "A_t": "average_accuracy",
        "G_t": "oracle_accuracy",
        "forgetting": "forgetting",
        "BWT": "backward_transfer",
    }
    if not any("oracle_accuracy" in row for row in rows):
        del keys["G_t"]
    of_memory = "not_measured" in rows[0]
    header = ["task", "classes", *(["measured"] if of_memory else []), *keys]
    header += ["lowest class", "newest predicted", "in test"]
    table = []
    for row in rows:
        accuracies, newest = by_class(row, "class_accuracy"), row["newest_class_share"]
        measured = str(len(accuracies))
        table.append(
            [
                _task(row, names),
                *([str(len(row["classes_seen"])), measured] if of_memory else [measured]),
                *(_percent(row.get(key)) for key in keys.values()),
                _lowest(accuracies, names),
                _percent(newest["predictions"]),
                _percent(newest["test_set"]),
            ]
        )
    return Table(header, folded(table))


def _lowest(accuracies: Mapping[int, float], names: Names) -> str:
    if not accuracies:
        return _NOT_MEASURED
    lowest = min(accuracies, key=accuracies.__getitem__)
    return f"{_percent(accuracies[lowest])} ({_short(names.get(lowest, f'class {lowest}'))})"


def class_table(rows: Sequence[Row], names: Names) -> Table:
    """A memory's classes in order of arrival: accuracy now, and the audit of their images.

    Accuracy is "-" where no test image was at hand when the last task was learnt.
    """
    verdicts = audit_verdicts(rows)
    newest = _NEWEST if rows[-1]["audit_pixels"] else "-"  # of a method that generates nothing
    now = by_class(rows[-1], "class_accuracy")
    table = [
        [
            _short(names.get(label, str(label))),
            str(row["task"]),
            _percent(now[label]) if label in now else _NOT_MEASURED,
            verdicts.get(row["task"], newest),
        ]
        for row in rows
        for label in row["classes"]
    ]
    return Table(["class", "task", "accuracy", "fixed images"], folded(table))


def folded(lines: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Rows of a table, of a long one the first and the last."""
    left_out = len(lines) - _FIRST_ROWS - _LAST_ROWS
    if left_out < 2:
        return list(lines)
    gap = [f"({left_out} more)", *[""] * (len(lines[0]) - 1)]
    return [*lines[:_FIRST_ROWS], gap, *lines[-_LAST_ROWS:]]


def _task(row: Row, names: Names) -> str:
    """A task's number, with the names of its classes where they are known."""
    if not names:
        return str(row["task"])
    classes = ", ".join(names.get(label, str(label)) for label in row["classes"])
    return f"{row['task']} ({_short(classes)})"


def _short(name: str) -> str:
    return one_line(name, 30)


def growth_table(rows: Sequence[Row], names: Names = _NO_NAMES) -> Table:
    """Units per layer after each task, next to the worst case of the paper's Figure 2.

    `free/start` is the smallest ratio, over layers, of what is free to what was
    free before task 1: it never falls below 1.
    """
    initial = rows[0]["initial_layer_widths"]
    total = sum(initial)
    header = ["task", *(f"block {index + 1}" for index in range(len(initial)))]
    header += ["units", "worst case", "of worst", "free", "free/start"]
    table = [["start", *map(str, [*initial, total, total]), "", "", ""]]
    for row in rows:
        units, worst = sum(row["layer_widths"]), worst_units(total, row["task"])
        free = min(layer["free"] / layer["initial_free"] for layer in row["layers"])
        table.append(
            [
                _task(row, names),
                *map(str, [*row["layer_widths"], units, worst]),
                f"{100 * units / worst:.0f} %",
                f"{100 * row['free_fraction']:.0f} %",
                f"{free:.2f}",
            ]
        )
    return Table(header, folded(table))


def cost_table(rows: Sequence[Row], names: Names = _NO_NAMES) -> Table:
    """Epochs, steps, wall-clock time, peak memory and parameters per task, and of all tasks."""
    columns = {
        "epochs": ("epochs", sum, plain),
        "steps": ("steps", sum, plain),
        "learning": ("seconds", sum, duration),
        "evaluation": ("evaluation_seconds", sum, duration),
        "peak MiB": ("peak_memory_mib", max, plain),
        "parameters": ("generator_parameters", max, plain),
    }

    def cells(some: Sequence[Row]) -> list[str]:
        found = []
        for key, over_tasks, as_text in columns.values():
            values = [row.get(key) for row in some]
            found.append(UNDEFINED if None in values else as_text(over_tasks(values)))
        return found

    table = [[_task(row, names), *cells([row])] for row in rows]
    return Table(["task", *columns], [*folded(table), ["all", *cells(rows)]])


def duration(seconds: float) -> str:
    """Seconds as text: "8.3 s", "4 min 07 s" or "1 h 05 min"."""
    if seconds < 59.95:  # what rounds to 60.0 is a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def audit_verdicts(rows: Sequence[Row]) -> dict[int, str]:
    """All later checks of each task's images in one line: identical, or how many pixels differ.

    A task counts as identical only where every later row says so; where one says nothing, the
    line names it. Of many tasks a run checks some after each: then all checks count that there are.

    Returns:
        A line for each task but the newest; empty for a run that audits nothing.
    """
    if not any(row["audit_pixels"] for row in rows):
        return {}
    checks: dict[int, dict[int, int]] = {row["task"]: {} for row in rows}
    pixels: dict[int, int] = {}
    sparse = {row["task"] for row in rows if len(row["audit"]) >= AUDITED}
    for row in rows:
        pixels |= by_class(row, "audit_pixels")
        for task, count in by_class(row, "audit").items():
            checks.setdefault(task, {})[row["task"]] = count
    last = rows[-1]["task"]
    return {
        row["task"]: _verdict(
            checks[row["task"]], range(row["task"] + 1, last + 1), pixels.get(row["task"]), sparse
        )
        for row in rows[:-1]
    }


def _verdict(
    checks: Mapping[int, int], later: Sequence[int], total: int | None, sparse: Collection[int]
) -> str:
    """All checks of a task's images in one line; `sparse` tasks have not checked all before."""
    if differing := {task: count for task, count in checks.items() if count}:
        first, of = min(differing), UNDEFINED if total is None else total
        return f"{max(differing.values())} of {of} pixels differ (first after task {first})"
    if unchecked := [str(task) for task in later if task not in checks and task not in sparse]:
        return f"not checked after task {', '.join(unchecked)}"
    if len(checks) < len(later):
        return f"identical each time, checked after {len(checks)} of {len(later)} later tasks"
    return f"identical after {len(later)} later task{'s' if len(later) > 1 else ''}"


# Cells as text.


def _percent(value: float | None) -> str:
    return UNDEFINED if value is None else f"{100 * value:.2f}"


def plain(value: Any) -> str:
    """A count, a setting or a fact as text."""
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    return UNDEFINED if value is None else str(value)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Right-aligned columns, two spaces between them."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells below a header."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
