"""The pictures of README.md and of docs/results/gallery.md, made from the committed runs.

    python -m studies.pictures

makes all of them, in docs/results: after runs in `results` or rows in `results/runs.csv` have
changed, give the command again and commit the pictures that it wrote.
"""

import argparse
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from dgm_tf.reporting import comparison, figures, numbers, page
from dgm_tf.reporting.numbers import Group, Points
from dgm_tf.reporting.run import Run, read_run
from dgm_tf.storage.files import write_atomically
from studies import results

# In the order of the page, by the names of their folders in `results`.
STREAMS = ("digits-10", "mnist-10", "fashion_mnist-10", "svhn_cropped-10", "cifar10-10")
HERO = "digits-10"
# The generative methods that the paper compares with.
EARLIER = ("ewc", "dgr", "mergan_jtr", "mergan_ra")
_FIRST = ("dgm-w", "dgm-a")

_GAP = 2  # pixels between images
_DOTS_PER_INCH = 200
# A picture has 256 colours where fewer than that fraction of its pixels differs by more, of 255.
_SEEN, _FRACTION = 16, 0.01
_STYLE = figures._STYLE | {"axes.grid": False, "font.size": 10, "axes.titlesize": 10}


def groups_of(stream: str, root: Path) -> list[Group]:
    """The methods of a stream with their runs, DGM first.

    Args:
        stream: the name of its folder.
        root: the folder of all runs.
    """
    runs = [read_run(path.parent) for path in root.glob(f"{stream}/*/seed*/metrics.jsonl")]
    runs = comparison.in_order(run for run in runs if len(run.rows) == run.tasks)
    order = list(figures.LOOKS)
    return sorted(numbers.groups(runs), key=lambda group: order.index(group.runs[0].learner))


def with_seeds(group: Group, rows: Sequence[results.Row]) -> Group:
    """The group with accuracies of its method's other seeds, of which only rows are kept.

    Args:
        group: of the runs whose folders are kept.
        rows: of runs.csv.
    """
    run, kept = group.runs[0], {run.seed for run in group.runs}
    method, _, variant = run.learner.partition("-")
    others = [
        dataclasses.replace(
            run,
            rows=tuple(
                {"task": task, "average_accuracy": percent / 100}
                for task, percent in enumerate(row["A"], start=1)
            ),
        )
        for row in results.whole_runs(rows, run.dataset, method, variant, run.tasks)
        if row["A"] and row["seed"] not in kept
    ]
    return dataclasses.replace(group, runs=(*group.runs, *others))


# Curves.


def accuracies(group: Group) -> Points:
    """Accuracy in percent after each task, over the group's runs."""
    return numbers.mean_curve(
        [numbers.curve(run.rows, "average_accuracy", factor=100) for run in group.runs]
    )


def accuracy_figure(groups: Sequence[Group], rows: Sequence[results.Row]) -> Figure:
    """A_t of all methods, with bands of one deviation where there are several seeds."""
    figure = page.accuracy_figure([with_seeds(group, rows) for group in groups])
    figure.set_dpi(_DOTS_PER_INCH)
    return figure


def growth_figure(groups: Sequence[Group]) -> Figure | None:
    """Units of the generators next to their worst cases."""
    figure = page.growth_figure(groups)
    if figure is not None:
        figure.set_dpi(_DOTS_PER_INCH)
    return figure


# Generated images.


def sheet(images: Iterable[np.ndarray], *, columns: int, zoom: int) -> np.ndarray:
    """Rows of images as one picture, white between them.

    Args:
        images: of each row uint8 [N, H, W, 3].
        columns: images shown of a row.
        zoom: side of an image's pixel.

    Returns:
        uint8 [height, width, 3].
    """
    rows = []
    for row in images:
        large = row[:columns].repeat(zoom, axis=1).repeat(zoom, axis=2)
        bordered = np.pad(large, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
        rows.append(np.concatenate(list(bordered), axis=1))
    return np.concatenate(rows)[:-_GAP, :-_GAP]


def samples_figure(groups: Sequence[Group]) -> Figure | None:
    """Sheets of images that the methods generate after the last task, in two columns."""
    found = [(group, group.runs[0].samples(group.learnt)) for group in groups]
    found = [(group, samples) for group, samples in found if samples]
    if not found:
        return None
    side = next(iter(found[0][1].values())).shape[1]
    sheets = [sheet(each.values(), columns=10, zoom=-(-32 // side)) for _, each in found]
    height, width = sheets[0].shape[:2]
    letters = max(len(name) for name in _class_names(found[0][0].runs[0]))
    left, top, dots = 14 + 8 * letters, 30, 100
    columns, rows = min(2, len(sheets)), -(-len(sheets) // 2)
    size = np.array([columns * (left + width) + 10, rows * (top + height) + 10])
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size / dots, dpi=dots)
        for index, ((group, _), pixels) in enumerate(zip(found, sheets, strict=True)):
            row, column = divmod(index, columns)
            corner = left + column * (left + width), size[1] - (row + 1) * (top + height)
            axes = _at(figure, corner, (width, height))
            _show(axes, pixels, _class_names(group.runs[0]), _title(group))
    return figure


def _title(group: Group) -> str:
    recognised = group.runs[0].rows[-1].get("oracle_accuracy")
    if recognised is None:
        return group.name
    return f"{group.name}: {100 * recognised:.1f} % recognised"


def _class_names(run: Run) -> list[str]:
    return [run.class_name(label) for label in run.samples(len(run.rows))]


def _at(figure: Figure, corner: tuple[float, float], size: tuple[float, float]) -> Axes:
    """Axes at a place of the figure, in pixels from its lower left corner."""
    width, height = figure.bbox.size
    place = (corner[0] / width, corner[1] / height, size[0] / width, size[1] / height)
    return figure.add_axes(place)


def _show(axes: Axes, pixels: np.ndarray, names: Sequence[str], title: str) -> None:
    """A sheet with the name of a class at each row."""
    axes.imshow(pixels, interpolation="nearest", aspect="auto")
    step = (pixels.shape[0] + _GAP) / len(names)
    axes.set_yticks([(row + 0.5) * step - _GAP for row in range(len(names))], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title)


# The first picture.


def hero_figure(groups: Sequence[Group], rows: Sequence[results.Row]) -> Figure:
    """Fine-tuning's images, DGM's images, and four curves from 0 to 100 %.

    Args:
        groups: of one stream, DGMw, fine-tuning, joint training and an earlier method among them.
        rows: of runs.csv.
    """
    by_learner = {group.runs[0].learner: with_seeds(group, rows) for group in groups}
    earlier = [by_learner[name] for name in EARLIER if name in by_learner]
    best = max(earlier, key=lambda group: accuracies(group)[-1][1].mean)
    shown = [by_learner["dgm-w"], best, by_learner["joint"], by_learner["fine_tune"]]
    with matplotlib.rc_context(_STYLE | {"font.size": 9, "axes.titlesize": 9.5}):
        figure = Figure(figsize=(8, 3.1), dpi=_DOTS_PER_INCH)
        for left, name, title in ((50, "fine_tune", "Fine-tuning"), (400, "dgm-w", "DGM")):
            run = by_learner[name].runs[0]
            samples = run.samples(len(run.rows))
            pixels = sheet(samples.values(), columns=6, zoom=48 // run.stream["image_shape"][0])
            height, width = pixels.shape[:2]
            axes = _at(figure, (left, 70), (width, height))
            _show(axes, pixels, _class_names(run), title)
            axes.set_xlabel("generated after ten tasks", labelpad=6)
        _hero_curves(_at(figure, (790, 130), (390, 438)), shown)
    return figure


def _hero_curves(axes: Axes, groups: Sequence[Group]) -> None:
    tasks = groups[0].learnt
    axes.grid(True)
    axes.set(ylim=(0, 100), xticks=range(1, tasks + 1), title="Accuracy on all classes so far (%)")
    for level, group in enumerate(reversed(groups)):  # the first lie on top
        look, points = figures.LOOKS[group.runs[0].learner], accuracies(group)
        axes.plot(*figures._means(points), **_look(group), zorder=2 + level, clip_on=False)
        figures._band(axes, points, look.color)
    seeds = " or ".join(map(str, sorted({len(group.runs) for group in groups})))
    told = f"mean ± standard deviation, {seeds} seeds"
    axes.set_xlabel("tasks learnt")
    axes.annotate(
        told, (0, 0), (0, -42), "axes fraction", "offset points", fontsize=7.5, color=figures.MUTED
    )
    _name_ends(axes, groups)


def _look(group: Group) -> dict[str, str]:
    look = figures.LOOKS[group.runs[0].learner]
    return {"color": look.color, "linestyle": look.dashes, "marker": look.marker}


_NAMES = {
    "dgm-w": ("DGM", "no image kept"),
    "joint": ("Joint training", "all images kept"),
    "fine_tune": ("Fine-tuning", "no protection"),
}


def _name_ends(axes: Axes, groups: Sequence[Group]) -> None:
    """Names and last accuracies at the right, as high as the curves end, none on another."""
    tasks, top = groups[0].learnt, 100.0
    ends = [(group, accuracies(group)[-1][1]) for group in groups]
    for group, last in sorted(ends, key=lambda end: -end[1].mean):
        learner = group.runs[0].learner
        name, note = _NAMES.get(learner, (group.name, "best earlier method"))
        number = f"{last.mean:.1f}" + (f" ± {last.deviation:.1f}" if last.deviation else "")
        y = min(last.mean, top)
        top = y - 14.5
        key = [tasks + 0.9, tasks + 1.9]
        axes.plot(key, [y, y], **_look(group), markevery=[0], clip_on=False)
        weight = "bold" if learner in _FIRST else "normal"
        options = {"va": "center", "color": figures.INK}
        axes.text(tasks + 2.2, y, f"{name} {number}", fontweight=weight, **options)
        axes.text(
            tasks + 2.2, y - 6, note, va="center", fontsize=7.5, color=figures.MUTED
        )  # fmt: skip
    axes.set_xlim(0.5, tasks + 0.5)


# Files.


def write(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, the same bytes each time; of photographs every colour is kept."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(buffer, format="png", dpi=figure.dpi, metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB")
    few = picture.quantize(256, dither=Image.Dither.NONE)
    differences = np.asarray(few.convert("RGB"), int) - np.asarray(picture, int)
    if np.mean(np.abs(differences).max(axis=2) > _SEEN) < _FRACTION:
        picture = few
    smaller = io.BytesIO()
    picture.save(smaller, format="PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, smaller.getvalue())


def write_all(root: Path, out: Path) -> list[Path]:
    """Writes every picture into a folder and returns their paths.

    Args:
        root: folder of all runs, with runs.csv.
        out: where hero.png goes; the others go to its folder `pictures`.
    """
    rows = results.read(root / "runs.csv")
    written = []
    for stream in STREAMS:
        groups = groups_of(stream, root)
        name = stream.removesuffix("-10")
        made = {
            out / "pictures" / f"{name}-samples.png": samples_figure(groups),
            out / "pictures" / f"{name}-accuracy.png": accuracy_figure(groups, rows),
            out / "pictures" / f"{name}-growth.png": growth_figure(groups),
        }
        if stream == HERO:
            made[out / "hero.png"] = hero_figure(groups, rows)
        for path, figure in made.items():
            if figure is not None:
                write(figure, path)
                written.append(path)
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, default=results.ROOT / "results", metavar="DIR")
    parser.add_argument(
        "--out", type=Path, default=results.ROOT / "docs" / "results", metavar="DIR"
    )
    given = parser.parse_args(arguments)
    print(*write_all(given.results, given.out), sep="\n")


if __name__ == "__main__":
    main()
