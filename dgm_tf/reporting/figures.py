"""Figures in one style, from the numbers that `dgm_tf.reporting.numbers` makes.

A method has one colour, marker and dash in every figure; the two bounds of accuracy are grey.
People with any colour vision can tell the colours apart, on a light page and on a dark one; hatches
and tints tell parts of a bar apart. Axes have names and units, and legends stand outside them.
"""

import contextlib
import io
import itertools
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from dgm_tf.reporting import fonts
from dgm_tf.reporting.numbers import Curve, Points, mean_curve
from dgm_tf.storage.files import write_atomically


class Look(NamedTuple):
    """A line's colour, marker and dashes."""

    color: str
    marker: str
    dashes: str


INK, MUTED, FAINT, RULE = "#1b1f24", "#5f6873", "#8b939d", "#d5dae0"
# From Okabe and Ito's, moved apart for nine of them; `page.css` has the same hues for a dark page.
SERIES = (
    "#0072b2", "#d55e00", "#48c084", "#e4a8d8", "#fca800", "#00c0fc", "#0030a8", "#782400",
    "#e45454",
)  # fmt: skip
_DASHES = ("-", "--", "-.", ":")
_STYLES = [
    Look(color, marker, dashes)
    for color, marker, dashes in zip(SERIES, "os^vP<>*X", _DASHES * 2 + _DASHES[:1], strict=True)
]
# By learner; any other takes a style that its figure leaves.
LOOKS = {
    "dgm-w": _STYLES[0],
    "dgm-a": _STYLES[1],
    "mergan_ra": _STYLES[2],
    "mergan_jtr": _STYLES[3],
    "dgr": _STYLES[4],
    "ewc": _STYLES[5],
    "joint_gan": _STYLES[6],
    "nearest_mean": _STYLES[7],
    "experience_replay": _STYLES[8],
    "joint": Look(MUTED, "d", "--"),
    "fine_tune": Look(FAINT, "x", ":"),
}
_BOUNDS = ("joint", "fine_tune")
_COLOURS_OF_PERCENT = "cividis"
_HOLLOW = {"markersize": 8, "markerfacecolor": "none", "clip_on": False}
_LOOKS_OF_BARS = {
    "newly reserved": {"hatch": "///"},
    "reused": {"alpha": 0.65},
    "left free": {"alpha": 0.3, "hatch": "..."},
    "learning": {},
    "evaluation": {"alpha": 0.5, "hatch": "///"},
}

_DOTS_PER_INCH = 200
_WIDE, _NARROW = (4.8, 2.9), (3.6, 2.4)  # inches, without the legend
_MARGIN = 0.1  # inches
_MOST_MARKERS = 20  # more tasks than that are a line, and stand without rules between them
_MOST_CELLS = 20  # more rows than that have no numbers
_LONGEST = 20  # letters of a column's name, which would else leave the cells no room

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": [fonts.USUAL],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # A class may be called "$".
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


def looks(learners: Sequence[str]) -> list[Look]:
    """The look of each line of a figure.

    Args:
        learners: of each line, such as `dgm-w`. The first line of a method has its look. Another
            one, and a method without a look, has one that no other line has, of nine lines.
    """
    own = [
        LOOKS.get(name) if name not in learners[:at] else None for at, name in enumerate(learners)
    ]
    free = [look for look in _STYLES if look not in own] or _STYLES
    spare = itertools.cycle(free)
    return [look or next(spare) for look in own]


def lines(
    curves: Mapping[str, Sequence[Curve]],
    *,
    ylabel: str,
    learners: Sequence[str] = (),
    published: Mapping[str, tuple[str, Curve]] | None = None,
    worst: Mapping[str, tuple[str, Curve]] | None = None,
    limits: tuple[float, float] | None = None,
    wide: bool = True,
) -> Figure:
    """Curves over tasks: means over runs, with a dot for each value where there are several.

    Args:
        curves: of each run, by the name of their group. An empty group takes a colour and no line.
        ylabel: the quantity with its unit.
        learners: of each group, for its look.
        published: of some groups a name and the paper's numbers, as hollow diamonds.
        worst: worst cases as in the paper's Figure 2, each with its colour, by name; the axis then
            begins at 0.
        limits: of the axis; those of the values unless given.
        wide: wider than half a page.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(_WIDE if wide else _NARROW, "", "tasks learnt", ylabel)
        learners = learners or [""] * len(curves)
        for (name, each), learner, look in zip(
            curves.items(), learners, looks(learners), strict=True
        ):
            if not any(each):
                continue
            # Bounds lie below the others, DGM above them.
            level = 2 + learner.startswith("dgm") - (learner in _BOUNDS)
            _plot(axes, name, each, look, 2 + 0.1 * level)
            if name in (published or {}):
                of_paper, points = published[name]
                _dots(axes, points, "D", color=look.color, label=of_paper, **_HOLLOW)
        for name, (color, points) in (worst or {}).items():
            axes.plot(*_columns(points), color=color, linestyle=(0, (2, 2)), label=name)
        if worst:
            axes.set_ylim(bottom=0)
        if limits:
            axes.set_ylim(limits)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_below(figure, axes)
    return figure


def _plot(axes: Axes, name: str, each: Sequence[Curve], look: Look, level: float) -> None:
    if points := mean_curve(each):
        marker = look.marker if len(points) <= _MOST_MARKERS else None
        axes.plot(
            *_means(points), color=look.color, linestyle=look.dashes, marker=marker, label=name,
            zorder=level, clip_on=False,  # A marker at 100 % stands half outside.
        )  # fmt: skip
        _band(axes, points, look.color)
    if len(each) > 1:
        dots = [point for points in each for point in points]
        _dots(axes, dots, ".", color=look.color, markersize=3)


def _legend_below(figure: Figure, axes: Axes) -> None:
    """Names below the axes, for which the figure grows; none for a single line."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) < 2:
        return
    width, height = figure.get_size_inches()
    room = width - 2 * _MARGIN

    def placed(columns: int, names: Sequence[str]) -> tuple[float, float]:
        """Places a legend and returns its size in inches."""
        legend = axes.legend(
            handles, names, ncols=columns, loc="lower left", bbox_transform=figure.transFigure,
            bbox_to_anchor=(_MARGIN / width, 0), borderaxespad=0.3, columnspacing=1.0,
            handlelength=1.8, handletextpad=0.6,
        )  # fmt: skip
        box = legend.get_window_extent()
        return box.width / figure.dpi, box.height / figure.dpi

    for columns in (3, 2, 1):
        needed, deep = placed(columns, names)
        if needed <= room:
            break
    else:
        letters = int(max(map(len, names)) * (room - 0.5) / needed)
        _, deep = placed(1, [textwrap.fill(name, letters) for name in names])
    _, old, _, tall = axes.get_position().bounds
    figure.set_size_inches(width, height + deep)
    bottom = (old * height + deep) / (height + deep)
    figure.subplots_adjust(bottom=bottom, top=bottom + tall * height / (height + deep))


def _dots(axes: Axes, points: Curve, marker: str, **look: Any) -> None:
    axes.plot(*_columns(points), linestyle="", marker=marker, **look)


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
) -> Figure:
    """A table of percentages [rows, columns] as colours, with numbers where there is room.

    Args:
        percent: 0 to 100, NaN for no value.
        columns: a name each; rows are counted from 1.
        xlabel, ylabel: of the columns and of the rows.
        scale: the quantity with its unit.
    """
    rows, width = percent.shape
    side = max(rows, width)
    numbers = side <= _MOST_CELLS
    inches = min(max(0.44 * side, 2.2), 9.0) if numbers else 5.6
    size = (1.5 + inches * width / side, max(0.8 + inches * rows / side, 1.6))
    every = 1 if numbers else max(1, side // 10)
    columns = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in columns]
    with matplotlib.rc_context(_STYLE | {"axes.grid": False, "axes.spines.left": False}):
        figure, axes = _axes(size, "", xlabel, ylabel, measured=True)
        shown = np.ma.masked_invalid(percent)
        options = {"cmap": _COLOURS_OF_PERCENT, "vmin": 0, "vmax": 100}
        if numbers:
            # Cells as shapes stay crisp at any size.
            edges = np.arange(width + 1) - 0.5, np.arange(rows + 1) - 0.5
            image = axes.pcolormesh(*edges, shown, edgecolors="none", **options)
            axes.set_aspect("equal")
            axes.invert_yaxis()
            _write_numbers(axes, percent, middle=50)
        else:
            image = axes.imshow(shown, interpolation="nearest", **options)
        axes.set_xticks(range(0, width, every), columns[::every])
        axes.set_yticks(range(0, rows, every), range(1, rows + 1, every))
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


def bars(
    parts: Mapping[str, Points],
    *,
    ylabel: str,
    unit: float = 1,
    wide: bool = True,
    color: str = SERIES[0],
) -> Figure:
    """Stacked bars per task; whiskers of one standard deviation where there is one.

    Args:
        parts: (task, mean and spread) in order, the same tasks each, by a name that has a look.
        ylabel: the quantity in the unit by which values are divided.
        unit: that unit.
        wide: wider than half a page.
        color: the method's; the parts are tints of it.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(_WIDE if wide else _NARROW, "", "task", ylabel)
        axes.grid(False, axis="x")
        bottom, top = 0.0, 0.0
        for name, points in parts.items():
            tasks, means = _means(points)
            means = np.array(means) / unit
            look = {"color": color} | _LOOKS_OF_BARS[name]
            axes.bar(tasks, means, 0.75, bottom=bottom, label=name, **look)
            bottom = bottom + means
            deviations = np.array([value.deviation or 0.0 for _, value in points]) / unit
            if all(value.deviation is not None for _, value in points):
                axes.errorbar(
                    tasks, bottom, deviations, color=INK, linestyle="", linewidth=0.8, capsize=2
                )
            top = max(top, (bottom + deviations).max())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, 1.05 * max(top, 1e-9))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(parts), borderaxespad=0.2)
    return figure


def within_tasks(
    points: Points,
    tasks: int,
    *,
    title: str,
    ylabel: str,
    first: int = 1,
    color: str = SERIES[0],
    limits: tuple[float, float] | None = None,
) -> Figure:
    """A quantity over the epochs of tasks, a line per task; see `numbers.within_tasks`.

    Args:
        points: of the tasks from `first` on.
        tasks: number of the last task.
        title: of the figure.
        ylabel: the quantity with its unit.
        first: number of the first task shown.
        color: the method's, of every other task; the rest are grey.
        limits: of the axis; those of the values unless given.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(_NARROW, title, "task, divided into its epochs", ylabel)
        axes.grid(False, axis="x")
        for task in range(first, tasks + 1):
            if 1 < task <= tasks <= _MOST_MARKERS:
                axes.axvline(task - 0.5, color=RULE, linewidth=0.6)
            mine = [(x, value) for x, value in points if abs(x - task) < 0.5]
            if not mine:
                continue
            # A single epoch has no line.
            marker = "o" if len(mine) == 1 else None
            mine_is = color if task % 2 else MUTED
            axes.plot(*_means(mine), color=mine_is, marker=marker, linewidth=1.2, clip_on=False)
            _band(axes, mine, mine_is)
        if limits:
            axes.set_ylim(limits)
        axes.set_xlim(first - 0.5, tasks + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def trade_off(
    points: Curve,
    front: Curve,
    *,
    xlabel: str,
    ylabel: str,
    marked: Mapping[str, tuple[float, float]],
    others: Curve,
) -> Figure:
    """Trials of a search for little x and much y, and the front of those that nothing beats.

    Args:
        points: (x, y) each, the front's among them.
        front: in order of x.
        xlabel, ylabel: the quantities with their units.
        marked: up to two of the points by name.
        others: points of a smaller budget, which are not compared with these.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(_WIDE, "", xlabel, ylabel)
        if others:
            _dots(axes, others, ".", color=MUTED, markersize=4, label="smaller budget")
        if beaten := [point for point in points if point not in front]:
            _dots(axes, beaten, "o", color=SERIES[0], label="trial")
        axes.plot(
            *_columns(front), color=SERIES[1], linestyle="--", marker="s",
            drawstyle="steps-post", label="Pareto front",
        )  # fmt: skip
        for (name, point), marker in zip(marked.items(), "*D", strict=False):
            _dots(axes, [point], marker, color=INK, label=name, **_HOLLOW)
        axes.margins(0.08)  # Marks at the edge would be cut.
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0.2)
    return figure


def _axes(
    size: tuple[float, float], title: str, xlabel: str, ylabel: str, *, measured: bool = False
) -> tuple[Figure, Axes]:
    """Axes on a figure of the given inches; `measured` finds margins by rendering twice."""
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


def _columns(points: Curve) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _means(points: Points) -> tuple[list[float], list[float]]:
    return _columns([(x, value.mean) for x, value in points])


# Files and pages.


def write(figure: Figure, base: str | Path) -> list[Path]:
    """Writes the figure on white to BASE.png and BASE.svg, the same bytes each time.

    Raises:
        InputError: a file cannot be written.
    """
    _take_other_fonts(figure)
    buffer = io.BytesIO()
    with _without_glyph_warnings():
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    # Text becomes shapes: a reader may not have the font.
    svg = _svg(figure, fonttype="path", transparent=False)
    paths = [Path(f"{base}.png"), Path(f"{base}.svg")]
    for path, content in zip(paths, (buffer.getvalue(), svg.encode()), strict=True):
        write_atomically(path, content)
    return paths


def _take_other_fonts(figure: Figure) -> None:
    """Gives texts with letters that the usual font has not a font of this machine that has them."""
    for text in figure.findobj(Text):
        letters = fonts.missing(text.get_text()) - {"\n"}
        if letters and (other := fonts.with_letters(letters)) is not None:
            text.set_fontfamily([fonts.USUAL, other[0]])


@contextlib.contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    """A block in which a letter that no font has is a box and no news."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
        yield


def inline_svg(figure: Figure, name: str) -> str:
    """The figure as an element of a page, whose style sheet decides its colours.

    Ink, rules and series become the variables `--ink`, `--muted`, `--faint`, `--rule` and
    `--series-1` ...
    The name makes the ids within the figure unique on the page.
    """
    svg = _svg(figure, fonttype="none", transparent=True)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    variables = {"ink": INK, "muted": MUTED, "faint": FAINT, "rule": RULE}
    variables |= {f"series-{index}": color for index, color in enumerate(SERIES, start=1)}
    for variable, color in variables.items():
        svg = svg.replace(color, f"var(--{variable})")
    return svg


def _svg(figure: Figure, *, fonttype: str, transparent: bool) -> str:
    buffer = io.StringIO()
    # With the salt ids are the same each time, and so is the file.
    style = _STYLE | {"svg.fonttype": fonttype, "svg.hashsalt": "dgm_tf"}
    with matplotlib.rc_context(style), _without_glyph_warnings():
        figure.savefig(
            buffer,
            format="svg",
            transparent=transparent,
            metadata=dict.fromkeys(("Date", "Creator", "Type", "Format")),
        )
    return buffer.getvalue()
