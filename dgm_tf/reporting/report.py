"""The text that a run ends with, from the rows of its metrics.jsonl.

Pure functions from plain dictionaries to strings, so that a committed run prints the same report
as the run that made it. A value that is missing or not defined is "n/a", never 0.

A row has the keys `task` (from 1), `class_accuracy`, `average_accuracy`, `forgetting`,
`backward_transfer`, `newest_class_share` (`predictions` and `test_set`), `layer_widths`,
`initial_layer_widths`, `layers` (of each layer `free` and `initial_free`), `generator_parameters`,
`free_fraction`, `epochs`, `steps`, `seconds`, `audit` (differing pixels by earlier task) and
`audit_pixels` (pixels compared by task). Layer sizes are those after the growth that follows the
task. Accuracies and shares are 0 to 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

_UNDEFINED = "n/a"


def run_report(rows: Sequence[Row], *, scenario: str, pictures: str | None = None) -> str:
    """Everything a run prints at its end.

    Args:
        rows: one per finished task, in order.
        scenario: one line that says what the numbers are for (`TaskStream.scenario`).
        pictures: where the sample grids are.
    """
    if not rows:
        return f"{scenario}\nno task finished yet"
    sections = [
        scenario,
        "Accuracy on the real test images of all classes seen, in percent (mean over classes; "
        "last epoch)\n" + accuracy_table(rows),
    ]
    if rows[-1].get("layer_widths"):
        sections.append("Growth of the generator, in units per layer\n" + growth_table(rows))
    sections.append("Time\n" + time_table(rows))
    if rows[-1].get("generator_parameters"):
        sections.append(
            "Memory audit: fixed images of each task, generated again after every later task\n"
            + audit_lines(rows)
        )
    if pictures is not None:
        sections.append(f"Pictures: {pictures}")
    return "\n\n".join(sections)


def accuracy_table(rows: Sequence[Row]) -> str:
    """A_t, G_t, forgetting and backward transfer per task, with two warnings beside them.

    G_t, the share of generated images that an oracle recognises, is there where one was asked.
    The warnings are the lowest class accuracy, which a mean hides, and the share of predictions
    on the newest task's classes against their share in the test set: the first far above the second
    means that the critic takes "real" for "newest class".
    """
    header = [
        "task", "classes", "A_t", "forgetting", "BWT", "lowest class", "newest predicted", "in test"
    ]  # fmt: skip
    table = [
        [
            str(row["task"]),
            str(len(row["class_accuracy"])),
            _percent(row.get("average_accuracy")),
            _percent(row.get("forgetting")),
            _percent(row.get("backward_transfer")),
            _lowest_class(row["class_accuracy"]),
            *(_percent(_share(row, of)) for of in ("predictions", "test_set")),
        ]
        for row in rows
    ]
    if any("oracle_accuracy" in row for row in rows):
        header.insert(3, "G_t")
        for cells, row in zip(table, rows, strict=True):
            cells.insert(3, _percent(row.get("oracle_accuracy")))
    note = (
        f"forward transfer: {_UNDEFINED} (a single head has no output for a class before it comes)"
    )
    return f"{text_table(header, table)}\n{note}"


def growth_table(rows: Sequence[Row]) -> str:
    """Units per layer after each task, beside the worst case of the paper's Figure 2.

    The worst case adds the initial size after each task, so after task t it has t + 1 times the
    initial units. `free/start` is the smallest ratio, over layers, of what is free to what was
    free before task 1: it never falls below 1.
    """
    layers = max((len(row["layer_widths"]) for row in rows), default=0)
    header = ["task", *(f"layer {index + 1}" for index in range(layers))]
    header += ["units", "worst case", "of worst", "parameters", "free", "free/start"]
    table = [_growth_cells(row) for row in rows]
    initial = rows[0].get("initial_layer_widths") if rows else None
    if initial:
        table.insert(
            0, ["start", *map(str, initial), str(sum(initial)), str(sum(initial)), *[""] * 4]
        )
    return text_table(header, table)


def _growth_cells(row: Row) -> list[str]:
    widths, initial = row["layer_widths"], row.get("initial_layer_widths")
    worst = sum(initial) * (row["task"] + 1) if initial else None
    layers = row.get("layers")
    least_free = min(layer["free"] / layer["initial_free"] for layer in layers) if layers else None
    parameters = row.get("generator_parameters")
    return [
        str(row["task"]),
        *map(str, widths),
        str(sum(widths)),
        _UNDEFINED if worst is None else str(worst),
        _UNDEFINED if worst is None else f"{100 * sum(widths) / worst:.0f} %",
        _UNDEFINED if parameters is None else f"{parameters:,}",
        _UNDEFINED if row.get("free_fraction") is None else f"{100 * row['free_fraction']:.0f} %",
        _UNDEFINED if least_free is None else f"{least_free:.2f}",
    ]


def time_table(rows: Sequence[Row]) -> str:
    """Epochs, steps and wall-clock time per task, and their sums."""
    table = [[str(row["task"]), *_time_cells([row])] for row in rows]
    return text_table(["task", "epochs", "steps", "time"], [*table, ["all", *_time_cells(rows)]])


def _time_cells(rows: Sequence[Row]) -> list[str]:
    epochs, steps, seconds = (
        None if any(row.get(key) is None for row in rows) else sum(row[key] for row in rows)
        for key in ("epochs", "steps", "seconds")
    )
    return [
        _UNDEFINED if epochs is None else str(epochs),
        _UNDEFINED if steps is None else str(steps),
        _UNDEFINED if seconds is None else duration(seconds),
    ]


def duration(seconds: float) -> str:
    """Seconds as text: "8.3 s", "4 min 07 s" or "1 h 05 min"."""
    if seconds < 59.95:  # what rounds to 60.0 is a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def audit_lines(rows: Sequence[Row]) -> str:
    """One line per task: identical, or how many of its pixels differ, over all later checks.

    A task counts as identical only where every later row says so; where one says nothing, the
    line names it.
    """
    return "\n".join(f"task {row['task']}: {audit_verdict(row['task'], rows)}" for row in rows)


def audit_verdict(task: int, rows: Sequence[Row]) -> str:
    """What all later checks of a task's images say together; see `audit_lines`."""
    checks = {row["task"]: _by_number(row, "audit").get(task) for row in rows if row["task"] > task}
    if not checks:
        return "the newest, no later task yet"
    differing = {later: pixels for later, pixels in checks.items() if pixels}
    if differing:
        first = min(differing)
        total = max((_by_number(row, "audit_pixels").get(task, 0) for row in rows), default=0)
        of_total = f" of {total}" if total else ""
        return f"{max(differing.values())}{of_total} pixels differ (first after task {first})"
    unchecked = [later for later, pixels in checks.items() if pixels is None]
    if unchecked:
        return f"not checked after task {', '.join(map(str, unchecked))}"
    return f"identical after {len(checks)} later task{'s' if len(checks) > 1 else ''}"


def _by_number(row: Row, key: str) -> dict[int, int]:
    """JSON makes text of the keys; a row that was never written still has numbers."""
    return {int(task): value for task, value in (row.get(key) or {}).items()}


def _lowest_class(class_accuracy: Mapping[Any, float]) -> str:
    label = min(class_accuracy, key=class_accuracy.__getitem__)
    return f"{_percent(class_accuracy[label])} (class {label})"


def _share(row: Row, of: str) -> float | None:
    return (row.get("newest_class_share") or {}).get(of)


def _percent(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{100 * value:.2f}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Right-aligned columns, two spaces between them."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
