"""The rows of results/runs.csv, and the tables of them in README.md and the documents.

`python -m studies.results` writes them, between the marks of each table.
"""

import csv
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dgm_tf.methods import registry
from dgm_tf.methods.registry import label_of
from dgm_tf.methods.settings import VARIANTS
from dgm_tf.reporting.paper import published
from dgm_tf.reporting.tables import markdown_table

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "results" / "runs.csv"
BY_EPOCH = ROOT / "studies" / "paper" / "by_epoch.csv"  # of studies.paper.by_epoch
PAGES = tuple(
    ROOT / page for page in ("README.md", "docs/results/index.md", "docs/explanation/cost.md")
)

# Percent, save for the Frechet distance, parameters, minutes and `kept`: the bytes of all that a
# learner saves after the last task to go on from. Empty where a run has none.
MEASURES = (
    "A5", "A10", "A_last", "G5", "G10", "G_last", "forgetting", "BWT", "frechet", "changed_pixels",
    "newest_predicted", "size", "parameters", "kept", "minutes",
)  # fmt: skip
COLUMNS = (
    "group", "dataset", "tasks", "method", "variant", "seed", "changed", "command", "commit",
    "machine", "date", "tasks_learnt", *MEASURES, "A",
)  # fmt: skip

# By method and variant, in the order of the table: DGM last.
METHODS = {(name, ""): label_of(name) for name in registry.METHODS if name != "dgm"} | {
    ("dgm", variant): label_of(f"dgm-{variant}") for variant in VARIANTS
}
DEFAULTS = "defaults"  # the group of whole runs by the present defaults

_SHOWN = {
    "A5": "A5",
    "A10": "A10",
    "G5": "G5",
    "G10": "G10",
    "forgetting": "forgetting",
    "frechet": "Frechet distance",
    "size": "of worst size",
    "kept": "kept, MB",
    "minutes": "minutes",
}
_MEASURED = ("n", *_SHOWN.values(), "commit")

# Of README.md's table.
_DATASETS = {
    "digits": "digits",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "svhn_cropped": "SVHN, 10,000 images",
    "cifar10": "CIFAR-10",
}
_ROWS = {
    "generator fine-tuned task after task (lower bound)": [("fine_tune", "")],
    "best earlier generative method that was run": [
        (name, "") for name in ("ewc", "dgr", "mergan_jtr", "mergan_ra")
    ],
    "**DGM**, masks on weights": [("dgm", "w")],
    "replay of stored real images, in about as many bytes as DGM after ten tasks": [
        ("experience_replay", "")
    ],
    "joint training on all real images (upper bound)": [("joint", "")],
}
_NOT_RUN = "not run"
_LONGER = "variations/epochs-240"

Row = dict[str, Any]


def read(path: str | Path = RUNS) -> list[Row]:
    """Returns the rows of a file.

    Measures are float or None, and other numbers are int. `A` is a list: accuracy in percent after
    each task, or empty where a row does not have it.
    """
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {name: int(row[name]) for name in ("tasks", "seed", "tasks_learnt")}
        row |= {name: float(row[name]) if row[name] else None for name in MEASURES}
        row["A"] = [float(value) for value in row["A"].split()]
    return rows


def append(path: str | Path, row: Row) -> None:
    """Adds a row to a file, which need not exist."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not begun:
            writer.writeheader()
        writer.writerow(row | {"A": " ".join(f"{percent:.2f}" for percent in row["A"])})


def spread(values: Iterable[float | None]) -> str:
    """Mean and sample standard deviation; the value of one run, and nothing where there is none."""
    found = [value for value in values if value is not None]
    if not found:
        return ""
    deviation = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
    return f"{statistics.fmean(found):.2f}{deviation}"


def readme_table(rows: Sequence[Row]) -> str:
    """A10 of the bounds, of DGM and of the best earlier method, a column for each data set."""
    lines = [
        [name, *(_best(rows, dataset, methods) for dataset in _DATASETS)]
        for name, methods in _ROWS.items()
    ]
    return markdown_table(["A10, %", *_DATASETS.values()], lines)


def _best(rows: Sequence[Row], dataset: str, methods: Sequence[tuple[str, str]]) -> str:
    """The method of the highest mean A10: its name if there is a choice, A10 and runs."""
    found = {}
    for method in methods:
        if runs := [row["A10"] for row in whole_runs(rows, dataset, *method)]:
            name = f"{METHODS[method]} " if len(methods) > 1 else ""
            found[f"{name}{spread(runs)} ({len(runs)})"] = statistics.fmean(runs)
    return max(found, key=found.get) if found else _NOT_RUN


def dataset_table(rows: Sequence[Row], dataset: str) -> str:
    """Every measure of a data set's whole runs, and which are missing."""
    found = _runs_of_methods(rows, dataset, tasks=10)
    lines = [[METHODS[method], *_measured(runs)] for method, runs in found.items()]
    missing = [name for method, name in METHODS.items() if method not in found]
    note = f"\n\nNot run yet: {', '.join(missing)}." if missing else ""
    return _without_empty_columns(["method", *_MEASURED], lines) + note


def pairs_table(rows: Sequence[Row]) -> str:
    """Every measure of the runs that learn two classes a task, all data sets in one table."""
    lines = [
        [name, METHODS[method], *_measured(runs)]
        for dataset, name in _DATASETS.items()
        for method, runs in _runs_of_methods(rows, dataset, tasks=5).items()
    ]
    return _without_empty_columns(["data set", "method", *_MEASURED], lines)


def _runs_of_methods(
    rows: Sequence[Row], dataset: str, *, tasks: int
) -> dict[tuple[str, str], list[Row]]:
    runs = {method: whole_runs(rows, dataset, *method, tasks=tasks) for method in METHODS}
    return {method: each for method, each in runs.items() if each}


def _measured(runs: Sequence[Row]) -> list[str]:
    """The cells below `_MEASURED`."""
    cells = [_cell(measure, (run[measure] for run in runs)) for measure in _SHOWN]
    return [str(len(runs)), *cells, ", ".join(sorted({run["commit"][:7] for run in runs}))]


def _without_empty_columns(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    used = [index for index in range(len(header)) if any(line[index] for line in lines)]
    return markdown_table(
        [header[index] for index in used], [[line[index] for index in used] for line in lines]
    )


def _cell(measure: str, values: Iterable[float | None]) -> str:
    if measure == "kept":
        values = (value and value / 1e6 for value in values)
    return spread(values)


def steps_table(rows: Sequence[Row]) -> str:
    """What four times the steps bring each method on the digits, beside the preset."""
    lines = []
    for method, name in METHODS.items():
        each = [whole_runs(rows, "digits", *method, group=group) for group in (DEFAULTS, _LONGER)]
        if all(each):
            cells = [
                f"{spread(run[measure] for run in runs)} ({len(runs)})"
                for measure in ("A10", "G10")
                for runs in each
            ]
            lines.append([name, *cells, spread(run["minutes"] for run in each[1])])
    header = ["A10", "A10, 240 epochs", "G10", "G10, 240 epochs", "minutes, 240 epochs"]
    return markdown_table(["method", *header], lines)


def growth_table(rows: Sequence[Row]) -> str:
    """Sizes of DGM's generators after ten tasks: units in percent of the worst case, parameters."""
    lines = []
    for dataset, name in _DATASETS.items():
        cells = []
        for variant in VARIANTS:
            runs = whole_runs(rows, dataset, "dgm", variant)
            units = f"{spread(run['size'] for run in runs)} (n = {len(runs)})"
            millions = spread(run["parameters"] / 1e6 for run in runs)
            cells += [units, millions] if runs else [_NOT_RUN, ""]
        lines.append([name, *cells])
    labels = [label_of(f"dgm-{variant}") for variant in VARIANTS]
    header = [f"{label}, {what}" for label in labels for what in ("units, %", "parameters, M")]
    return markdown_table(["data set", *header], lines)


def paper_table() -> str:
    """The numbers of the paper's Table 1."""
    lines = []
    for (method, variant), name in METHODS.items():
        learner = f"{method}-{variant}" if variant else method
        cells = [
            published(dataset, learner, [[each] for each in range(10)])
            for dataset in ("mnist", "svhn_cropped")
        ]
        if all(cells):
            measure = "A" if cells[0].key == "average_accuracy" else "G"
            numbers = [f"{value:.2f}" for cell in cells for value in cell.percent.values()]
            lines.append([name, measure, *numbers])
    header = ["method", "measure", "MNIST, 5 tasks", "MNIST, 10", "SVHN, 5", "SVHN, 10"]
    return markdown_table(header, lines)


def epochs_table() -> str:
    """A_t by the preset `paper`: of the last and the best epoch, and of the calibrated critic."""
    with open(BY_EPOCH, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        [
            f"DGM{row['variant']}",
            row["epochs"],
            row["task"],
            f"{float(row['last']):.2f}",
            f"{float(row['best']):.2f} (epoch {row['best_epoch']})",
            f"{float(row['reported']):.2f}",
        ]
        for row in rows
    ]
    header = ["method", "epochs", "task", "last epoch", "best epoch by test images", "calibrated"]
    return markdown_table(header, lines)


TABLES: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "results": readme_table,
    **{
        f"results of {dataset}": lambda rows, dataset=dataset: dataset_table(rows, dataset)
        for dataset in _DATASETS
    },
    "two classes a task": pairs_table,
    "four times the steps": steps_table,
    "growth": growth_table,
    "numbers of the paper": lambda rows: paper_table(),
    "best epochs": lambda rows: epochs_table(),
}
_MARKED = re.compile(r"(<!-- ([\w ]+):begin -->\n)(.*?)(<!-- \2:end -->)", re.S)


def with_tables(text: str, rows: Sequence[Row]) -> str:
    """A page with the tables of the rows between its marks; a mark must name one of `TABLES`."""
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]](rows)}\n{found[4]}", text)


def whole_runs(
    rows: Sequence[Row],
    dataset: str,
    method: str,
    variant: str = "",
    tasks: int = 10,
    group: str = DEFAULTS,
) -> list[Row]:
    """The rows of a method, by the present defaults or those of another group."""
    wanted = (group, dataset, tasks, method, variant)
    names = ("group", "dataset", "tasks", "method", "variant")
    return [row for row in rows if tuple(row[name] for name in names) == wanted]


def main() -> None:
    rows = read()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(with_tables(text, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
