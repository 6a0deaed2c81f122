"""The rows of results/runs.csv, and the tables of them in README.md and the documents.

`python -m studies.results` writes README.md's.
"""

import csv
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dgm_tf import registry
from dgm_tf.registry import label_of
from dgm_tf.settings import VARIANTS

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "results" / "runs.csv"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

# Percent, save for the Frechet distance, parameters and minutes; empty where a run has none.
MEASURES = (
    "A5", "A10", "A_last", "G5", "G10", "G_last", "forgetting", "BWT", "frechet", "changed_pixels",
    "newest_predicted", "size", "parameters", "minutes",
)  # fmt: skip
COLUMNS = (
    "group", "dataset", "tasks", "method", "variant", "seed", "changed", "command", "commit",
    "machine", "date", "tasks_learnt", *MEASURES,
)  # fmt: skip

# By method and variant, in the order of the table: DGM last.
METHODS = {(name, ""): label_of(name) for name in registry.METHODS if name != "dgm"} | {
    ("dgm", variant): label_of(f"dgm-{variant}") for variant in VARIANTS
}
# Groups of whole runs by the defaults, as the table marks them.
DEFAULTS = {
    "defaults": "",
    "defaults-wasserstein": "Wasserstein loss",
    "defaults-output-rate": "Wasserstein loss, output rate",
    "older-defaults": "older",
}

_SHOWN = {
    "A5": "A5",
    "A10": "A10",
    "G5": "G5",
    "G10": "G10",
    "forgetting": "forgetting",
    "frechet": "Frechet distance",
    "size": "of worst size",
    "minutes": "minutes",
}
_HEADER = ("method", "defaults", "n", *_SHOWN.values())

# Of README.md's table.
_DATASETS = {
    "digits": "digits",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "svhn_cropped": "SVHN, 10,000 images",
}
_ROWS = {
    "fine-tuning, task after task (lower bound)": [("fine_tune", "")],
    "best other method without stored images": [
        (name, "") for name in ("nearest_mean", "ewc", "dgr", "mergan_jtr", "mergan_ra")
    ],
    "**DGM**": [("dgm", "w")],
    "joint training on all real images (upper bound)": [("joint", "")],
}
_OLDER = "†"
_OLDER_NOTE = f"{_OLDER} Learnt with earlier defaults."

Row = dict[str, Any]


def read(path: str | Path = RUNS) -> list[Row]:
    """Returns the rows of a file, measures as float or None, the other numbers as int."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {name: int(row[name]) for name in ("tasks", "seed", "tasks_learnt")}
        row |= {name: float(row[name]) if row[name] else None for name in MEASURES}
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
        writer.writerow(row)


def spread(values: Iterable[float | None]) -> str:
    """Mean and sample standard deviation; the value of one run, and nothing where there is none."""
    found = [value for value in values if value is not None]
    if not found:
        return ""
    deviation = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
    return f"{statistics.fmean(found):.2f}{deviation}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells below a header as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def readme_table(rows: Sequence[Row]) -> str:
    """A10 of the bounds, of DGM and of the best other method, a column for each data set."""
    datasets = [name for name in _DATASETS if any(row["dataset"] == name for row in rows)]
    lines = [
        [name, *(_best(rows, dataset, methods) for dataset in datasets)]
        for name, methods in _ROWS.items()
    ]
    table = markdown(["A10, %", *map(_DATASETS.get, datasets)], lines)
    return f"{table}\n\n{_OLDER_NOTE}" if _OLDER in table else table


def _best(rows: Sequence[Row], dataset: str, methods: Sequence[tuple[str, str]]) -> str:
    """The method of the highest mean A10: its name if there is a choice, A10 and runs."""
    found = {}
    for method in methods:
        for group in DEFAULTS:
            runs = [row["A10"] for row in rows if _kind(row) == (dataset, group, 10, *method)]
            if runs := [value for value in runs if value is not None]:
                name = f"{METHODS[method]} " if len(methods) > 1 else ""
                mark = _OLDER if DEFAULTS[group] else ""
                text = f"{name}{spread(runs)} ({len(runs)}){mark}"
                found[text] = statistics.fmean(runs)
                break
    return max(found, key=found.get) if found else "not run"


def dataset_table(rows: Sequence[Row], dataset: str) -> str:
    """The same of one data set, without the columns that are empty there."""
    lines = list(_lines(rows, dataset))
    used = [index for index in range(len(_HEADER)) if any(line[index] for line in lines)]
    table = [[line[index] for index in used] for line in lines]
    return markdown([_HEADER[index] for index in used], table)


def _lines(rows: Sequence[Row], dataset: str) -> Iterator[list[str]]:
    for group, mark in DEFAULTS.items():
        for (method, variant), name in METHODS.items():
            wanted = (dataset, group, 10, method, variant)
            if runs := [row for row in rows if _kind(row) == wanted]:
                cells = [spread(run[measure] for run in runs) for measure in _SHOWN]
                yield [name, mark, str(len(runs)), *cells]


def with_table(text: str) -> str:
    """A README with the table of the committed rows between its marks."""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected the marks {BEGIN} and {END}")
    return f"{before}{begin}{readme_table(read())}\n{end}{after}"


def _kind(row: Row) -> tuple:
    return row["dataset"], row["group"], row["tasks"], row["method"], row["variant"]


def main() -> None:
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
