"""Figures in one style, from the numbers that `dgm_tf.reporting.numbers` makes.

The colours are those of Okabe and Ito, which people with any colour vision can tell apart; markers,
dashes and hatches say the same once more. Axes have names and units.
"""

import base64
import dataclasses
import io
import itertools
import logging
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from dgm_tf.reporting.numbers import Spread

# It would say on standard error that it builds its font cache, in the midst of a run.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

INK, MUTED, RULE = "#1b1f24", "#5f6873", "#d5dae0"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", "--", "-.", ":")
_COLOURS_OF_SHARES = "cividis"

_WIDE, _NARROW = (4.8, 2.9), (3.6, 2.4)  # inches
_MOST_MARKERS = 20  # more tasks than that are a line, and stand without rules between them
_MOST_CELLS = 20  # more rows than that are drawn without numbers

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "hatch.color": "#ffffff",
    "hatch.linewidth": 0.8,
    "svg.fonttype": "none",
}


# Means and spreads over tasks, or over other x, in order.
Points = Sequence[tuple[float, Spread]]


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve over tasks.

    Attributes:
        name: for the legend.
        points: (x, mean and spread) in order; a band of one standard deviation is drawn where
            there is one.
        dots: single values (x, y) besides, such as those of each run.
        published: (x, y) from the paper, drawn as hollow diamonds.
        published_name: for the legend.
        style: which of the colours and markers it takes.
    """

    name: str
    points: Points
    dots: Sequence[tuple[float, float]] = ()
    published: Sequence[tuple[float, float]] = ()
    published_name: str = ""
    style: int = 0


def lines(
    curves: Sequence[Line],
    *,
    ylabel: str,
    worst: Sequence[Sequence[tuple[float, float]]] = (),
    title: str = "",
    wide: bool = True,
    xlabel: str = "tasks learnt",
) -> Figure:
    """Curves over tasks, with worst cases as in the paper's Figure 2 where they are given."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(_WIDE if wide else _NARROW, title, xlabel, ylabel)
        for curve in curves:
            _draw(axes, curve)
        for index, points in enumerate(worst):
            label = None if index else "worst case"
            axes.plot(*_columns(points), color=MUTED, linestyle=(0, (2, 2)), label=label)
        if worst:
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(axes.get_legend_handles_labels()[1]) > 1 or len(curves) > 1:
            axes.legend()
    return figure


def _draw(axes: Axes, curve: Line) -> None:
    color = SERIES[curve.style % len(SERIES)]
    marker = _MARKERS[curve.style % len(_MARKERS)]
    if curve.points:
        x = [point for point, _ in curve.points]
        mean = [value.mean for _, value in curve.points]
        axes.plot(
            x, mean, color=color, linestyle=_DASHES[curve.style % len(_DASHES)],
            marker=marker if len(x) <= _MOST_MARKERS else None, label=curve.name,
        )  # fmt: skip
        _band(axes, curve.points, color)
    if curve.dots:
        axes.plot(*_columns(curve.dots), color=color, linestyle="", marker=".", markersize=3)
    if curve.published:
        axes.plot(
            *_columns(curve.published), color=color, linestyle="", marker="D", markersize=7,
            markerfacecolor="none", label=curve.published_name,
        )  # fmt: skip


def _band(axes: Axes, points: Points, color: str) -> None:
    """One standard deviation about the means, where there is one."""
    if points and all(value.deviation is not None for _, value in points):
        x = [x for x, _ in points]
        low = [value.mean - value.deviation for _, value in points]
        high = [value.mean + value.deviation for _, value in points]
        axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)


def heat_map(
    percent: np.ndarray,
    *,
    columns: Sequence[str],
    xlabel: str,
    ylabel: str = "after task",
    scale: str,
    limits: tuple[float, float],
) -> Figure:
    """A table of percentages [rows, columns] as colours, with numbers where there is room.

    Args:
        percent: 0 to 100, NaN for no value.
        columns: what each column is called; rows are counted from 1.
        xlabel: what the columns are.
        ylabel: what the rows are.
        scale: what the colours mean, with its unit.
        limits: percent of the first and of the last colour.
    """
    rows, width = percent.shape
    side = max(rows, width)
    numbers = side <= _MOST_CELLS
    inches = min(max(0.44 * side, 2.2), 9.0) if numbers else 5.6
    low, high = limits
    with matplotlib.rc_context(_STYLE | {"axes.grid": False, "axes.spines.left": False}):
        size = (1.5 + inches * width / side, max(0.8 + inches * rows / side, 1.6))
        figure, axes = _axes(size, "", xlabel, ylabel, measured=True)
        shown = np.ma.masked_invalid(percent)
        options = {"cmap": _COLOURS_OF_SHARES, "vmin": low, "vmax": high}
        if numbers:
            # Cells as shapes stay crisp at any size.
            edges = np.arange(width + 1) - 0.5, np.arange(rows + 1) - 0.5
            image = axes.pcolormesh(*edges, shown, edgecolors="none", **options)
            axes.set_aspect("equal")
            axes.invert_yaxis()
            _write_numbers(axes, percent, middle=(low + high) / 2)
            axes.set_xticks(range(width), columns)
            axes.set_yticks(range(rows), range(1, rows + 1))
        else:
            image = axes.imshow(shown, interpolation="nearest", **options)
            ticks = range(0, rows, max(1, rows // 10))
            axes.set_yticks(ticks, [tick + 1 for tick in ticks])
            ticks = range(0, width, max(1, width // 10))
            axes.set_xticks(ticks, [columns[tick] for tick in ticks])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        if max(map(len, columns)) > 3:
            axes.tick_params(axis="x", labelrotation=90)
        bar = figure.colorbar(image, label=scale, shrink=0.8)
        bar.outline.set_visible(False)
    return figure


def _write_numbers(axes: Axes, percent: np.ndarray, middle: float) -> None:
    for (row, column), value in np.ndenumerate(percent):
        if np.isnan(value):
            continue
        text = "100" if value >= 99.95 else f"{value:.1f}"
        color = "#ffffff" if value < middle else "#000000"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)


def mask_use(parts: Mapping[str, Points], *, elements: str) -> Figure:
    """Bars of what each task reserved, reused and left free.

    Args:
        parts: counts as `numbers.mean_mask_use` gives them.
        elements: what is counted, "weights" or "units".
    """
    unit, label = (1000, "weights (thousand)") if elements == "weights" else (1, elements)
    looks = {
        "reserved": ("newly reserved", SERIES[1], "///"),
        "reused": ("reused", SERIES[0], ""),
        "free": ("left free", SERIES[5], "..."),
    }
    return _bars([(points, looks[part]) for part, points in parts.items()], unit, ylabel=label)


def times(parts: Mapping[str, Points]) -> Figure:
    """Bars of the minutes that each task took, by what they were spent on.

    Args:
        parts: a name and the seconds per task each, two at most.
    """
    looks = ((SERIES[0], ""), (SERIES[1], "///"))
    bars = [
        (points, (name, *look)) for (name, points), look in zip(parts.items(), looks, strict=False)
    ]
    return _bars(bars, 60, ylabel="minutes", wide=False)


def _bars(
    parts: Sequence[tuple[Points, tuple[str, str, str]]],
    unit: float,
    *,
    ylabel: str,
    wide: bool = True,
) -> Figure:
    """Stacked bars per task; whiskers of one standard deviation where there is one.

    Args:
        parts: (task, mean and spread) in order, the same tasks each, and name, colour and hatch.
        unit: what values are divided by.
        ylabel: what they are then.
        wide: wider than half a page.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(_WIDE if wide else _NARROW, "", "task", ylabel)
        axes.grid(False, axis="x")
        tasks = [task for task, _ in parts[0][0]]
        bottom, top = np.zeros(len(tasks)), 0.0
        for points, (name, color, hatch) in parts:
            means = np.array([value.mean for _, value in points]) / unit
            axes.bar(tasks, means, 0.75, bottom=bottom, color=color, hatch=hatch, label=name)
            bottom = bottom + means
            spreads = np.array([value.deviation or 0.0 for _, value in points]) / unit
            if all(value.deviation is not None for _, value in points):
                axes.errorbar(
                    tasks, bottom, spreads, color=INK, linestyle="", linewidth=0.8, capsize=2
                )
            top = max(top, (bottom + spreads).max())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, 1.05 * max(top, 1e-9))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(parts), borderaxespad=0.2)
    return figure


def trade_off(
    points: Sequence[tuple[float, float]],
    front: Sequence[tuple[float, float]],
    *,
    xlabel: str,
    ylabel: str,
    each: str = "trial",
    names: Sequence[str] = (),
    deviations: Sequence[float | None] = (),
    marked: Mapping[str, tuple[float, float]] | None = None,
    others: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Points where little x and much y is wanted, and the front of those that nothing beats.

    Args:
        points: (x, y) each, the front's among them.
        front: in order of x.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
        each: what a point is.
        names: of the points, to stand beside them; none, or as many as points.
        deviations: of their y, where there are; none, or as many as points.
        marked: up to two of the points, by what they are.
        others: points that are not to be compared with these.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(_WIDE, "", xlabel, ylabel)
        if others:
            axes.plot(
                *_columns(others), color=MUTED, linestyle="", marker=".", markersize=4,
                label="smaller budget",
            )  # fmt: skip
        for (x, y), deviation in zip(points, deviations or [None] * len(points), strict=True):
            if deviation is not None:
                axes.errorbar(x, y, deviation, color=SERIES[0], linewidth=0.8, capsize=2)
        axes.plot(*_columns(points), color=SERIES[0], linestyle="", marker="o", label=each)
        axes.plot(
            *_columns(front), color=SERIES[1], linestyle=_DASHES[1], marker="s",
            drawstyle="steps-post", label="Pareto front",
        )  # fmt: skip
        for (name, point), marker in zip((marked or {}).items(), "*D", strict=False):
            axes.plot(
                *_columns([point]), color=INK, linestyle="", marker=marker, markersize=10,
                markerfacecolor="none", label=name,
            )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0.2)
        _name(axes, names, points)
    return figure


def within_tasks(tasks: Sequence[Points], *, title: str, ylabel: str) -> Figure:
    """A quantity over the epochs of each task, a line per task; see `numbers.within_tasks`."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(_NARROW, title, "task, divided into its epochs", ylabel)
        axes.grid(False, axis="x")
        for task, points in enumerate(tasks, start=1):
            if 1 < task <= len(tasks) <= _MOST_MARKERS:
                axes.axvline(task - 0.5, color=RULE, linewidth=0.6)
            # A single epoch has no line.
            marker = "o" if len(points) == 1 else None
            color = SERIES[0] if task % 2 else SERIES[1]
            x, mean = _columns([(x, value.mean) for x, value in points])
            axes.plot(x, mean, color=color, marker=marker, linewidth=1.2)
            _band(axes, points, color)
        axes.set_xlim(0.5, len(tasks) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _axes(
    size: tuple[float, float], title: str, xlabel: str, ylabel: str, *, measured: bool = False
) -> tuple[Figure, Axes]:
    """Axes on a figure of the given inches; `measured` finds margins by drawing a second time."""
    # A `Figure` of its own: pyplot would keep each one, and pick a window system.
    figure = Figure(figsize=size, layout="constrained" if measured else None)
    axes = figure.subplots()
    if not measured:
        width, height = size
        left, right, bottom, top = 0.78, 0.1, 0.5, 0.28
        figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    return figure, axes


def _name(axes: Axes, names: Sequence[str], points: Sequence[tuple[float, float]]) -> None:
    """Puts names beside points, where a place is free, off other points and names.

    Args:
        axes: with all that is to be drawn on them.
        names: of the points, or none.
        points: (x, y) each.
    """
    middle = sum(axes.get_xlim()) / 2
    dots = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(points)]
    taken: list[Bbox] = []
    for index, (name, point) in enumerate(zip(names, points, strict=bool(names))):
        text = axes.annotate(name, point, (0, 0), textcoords="offset points", fontsize=7)
        # First the side that has more room; that again where no place is free.
        sides = [(5, "left"), (-5, "right")]
        if point[0] > middle:
            sides.reverse()
        places = [*itertools.product(sides, (4, -9, 12, -17))]
        for (away, side), up in [*places, places[0]]:
            text.xyann = away, up
            text.set_horizontalalignment(side)
            box = text.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if inside and not box.count_overlaps([*taken, *dots[:index], *dots[index + 1 :]]):
                break
        taken.append(box)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


# Files and pages.


def png_bytes(figure: Figure, *, dots_per_inch: int = 200) -> bytes:
    """The figure as a PNG file on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()


def svg_bytes(figure: Figure) -> bytes:
    """The figure as an SVG file on white, the same bytes each time; text is drawn as shapes."""
    return _svg(figure, fonttype="path", transparent=False).encode()


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an element of a page, whose style sheet decides its colours.

    Ink, rules and series become the variables `--ink`, `--muted`, `--rule` and `--series-1` ...

    Args:
        figure: the figure.
        name: makes the ids within it unique on the page.
        description: what it shows, for those who cannot see it; plain text without markup.
    """
    svg = _svg(figure, fonttype="none", transparent=True)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    names = ("ink", "muted", "rule", *(f"series-{index + 1}" for index in range(len(SERIES))))
    for color, variable in zip((INK, MUTED, RULE, *SERIES), names, strict=True):
        svg = svg.replace(color, f"var(--{variable})")
    width = f"{figure.get_figwidth():.1f}in"
    label = f'<svg role="img" aria-label="{description}" style="max-width: {width}" '
    return svg.replace("<svg ", label, 1)


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _svg(figure: Figure, *, fonttype: str, transparent: bool) -> str:
    buffer = io.StringIO()
    # With the salt ids are the same each time, and so is the file.
    with matplotlib.rc_context(_STYLE | {"svg.fonttype": fonttype, "svg.hashsalt": "dgm_tf"}):
        figure.savefig(
            buffer,
            format="svg",
            transparent=transparent,
            metadata=dict.fromkeys(("Date", "Creator", "Type", "Format")),
        )
    return buffer.getvalue()
