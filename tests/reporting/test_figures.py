"""The content of each figure, read back from it, against values found by hand."""

import itertools
import math
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from dgm_tf.methods.registry import METHODS
from dgm_tf.reporting import figures
from dgm_tf.reporting.figures import LOOKS, SERIES
from dgm_tf.reporting.numbers import Spread
from tests.reporting import drawn

ELEVEN = list(LOOKS)


def look_of(line):
    return line.get_color(), line.get_marker(), line.get_linestyle()


def one(*points):
    return [(x, Spread(y, None, 1)) for x, y in points]


def two(*points):
    """Points (x, mean, deviation) of two runs."""
    return [(x, Spread(mean, deviation, 2)) for x, mean, deviation in points]


def labels(axes):
    return axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()


class TestLines:
    def made(self, curves, **options):
        (axes,) = figures.lines(curves, **({"ylabel": "%"} | options)).axes
        return axes

    def test_a_curve_is_its_means_with_a_band_of_one_deviation_and_a_dot_per_run(self):
        curves = {"DGMw (n = 2)": [[(1, 88.0), (2, 75.0)], [(1, 92.0), (2, 85.0), (3, 1.0)]]}
        axes = self.made(curves, ylabel="accuracy (%)", limits=(0, 100))
        assert labels(axes) == ("", "tasks learnt", "accuracy (%)")
        assert drawn.named_lines(axes) == {"DGMw (n = 2)": [[1, 90], [2, 80]]}
        assert drawn.nameless_lines(axes) == [[[1, 88], [2, 75], [1, 92], [2, 85], [3, 1]]]
        first, second = statistics.stdev([88, 92]), statistics.stdev([75, 85])
        (band,) = drawn.bands(axes)
        assert band == [
            (1, pytest.approx(90 - first), pytest.approx(90 + first)),
            (2, pytest.approx(80 - second), pytest.approx(80 + second)),
        ]
        assert axes.get_ylim() == (0, 100) and drawn.legend(axes) == []

    def test_the_papers_points_are_hollow_diamonds_that_no_line_joins(self):
        published = {"A_t": ("the paper's", [(5, 98.0), (10, 97.0)])}
        axes = self.made({"A_t": [[(1, 99.0)]], "other": [[(1, 98.0)]]}, published=published)
        assert drawn.named_lines(axes)["the paper's"] == [[5, 98], [10, 97]]
        assert drawn.legend(axes) == ["A_t", "the paper's", "other"]
        (paper,) = [line for line in axes.lines if line.get_label() == "the paper's"]
        assert paper.get_marker() == "D" and paper.get_linestyle() == "None"
        assert paper.get_markerfacecolor() == "none"

    def test_one_run_has_neither_band_nor_dots_and_none_no_line(self):
        axes = self.made({"A_t": [[(1, 99.0), (2, 98.0)]], "empty": [[], []]})
        assert drawn.named_lines(axes) == {"A_t": [[1, 99], [2, 98]]}
        assert drawn.bands(axes) == [] and drawn.nameless_lines(axes) == []

    def test_lines_differ_in_more_than_their_colour(self):
        axes = self.made({str(style): [[(1, 1.0), (2, 2.0)]] for style in range(4)})
        looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines]
        assert [len(set(look)) for look in zip(*looks, strict=True)] == [4, 4, 4]
        assert looks[0][0] == SERIES[0]

    def test_a_method_has_its_look_whatever_stands_next_to_it(self):
        curves = {name: [[(1, 1.0), (2, 2.0)]] for name in ELEVEN}
        (every, *few) = [
            {line.get_label(): look_of(line) for line in self.made(some, learners=list(some)).lines}
            for some in (curves, {"dgm-a": [[(1, 2.0)]]}, dict(reversed(curves.items())))
        ]
        assert every == {name: tuple(look) for name, look in LOOKS.items()}
        for other in few:
            assert other.items() <= every.items()

    def test_bounds_are_grey_and_lie_below_dgm(self):
        curves = {name: [[(1, 1.0), (2, 2.0)]] for name in ("dgm-w", "joint", "fine_tune", "ewc")}
        levels = {}
        for line in self.made(curves, learners=list(curves)).lines:
            levels[line.get_label()] = line.get_zorder()
            lightness, *colours = lab(line.get_color())
            grey = np.hypot(*colours) < 12
            assert grey == (line.get_label() in ("joint", "fine_tune"))
        assert levels["joint"] == levels["fine_tune"] < levels["ewc"] < levels["dgm-w"]

    def test_other_lines_have_looks_that_no_line_has(self):
        learners = ["dgm-w", "mine", "dgm-w", "joint", "yours", "ewc", "dgm-a"]
        found = figures.looks(learners)
        assert len(set(found)) == len(found)
        assert [found[at] for at in (0, 3, 5, 6)] == [LOOKS[learners[at]] for at in (0, 3, 5, 6)]

    @pytest.mark.parametrize("wide", [True, False])
    @pytest.mark.parametrize(
        "names",
        [
            [f"a method of twenty letters (n = {number})" for number in range(9)],
            ["DGMw (n = 3)", "MeRGAN-RA (n = 3)"],
            ["one", f"DGMw, {', '.join(f'setting_{at} value' for at in range(9))} (n = 3)"],
        ],
    )
    def test_the_legend_is_in_the_figure_and_outside_the_axes(self, names, wide):
        axes = self.made({name: [[(1, 0.0), (9, 100.0)]] for name in names}, wide=wide)
        figure = axes.figure
        figure.draw_without_rendering()
        legend = axes.get_legend().get_window_extent()
        # With its labels and its name.
        assert not legend.overlaps(axes.get_tightbbox(for_layout_only=False, bbox_extra_artists=[]))
        assert not legend.overlaps(axes.xaxis.get_tightbbox())
        (left, bottom), (right, top) = legend.min, legend.max
        assert left >= 0 and bottom >= 0 and right <= figure.bbox.x1 and top <= figure.bbox.y1
        # However long the legend is, the axes are as large.
        (alone,) = figures.lines({"A_t": [[(1, 0.0)]]}, ylabel="%", wide=wide).axes
        np.testing.assert_allclose(axes.bbox.size, alone.bbox.size)

    def test_worst_cases_are_dashed_from_zero_each_in_its_colour(self):
        worst = {"one": (SERIES[0], [(0, 6), (1, 12)]), "other": (SERIES[1], [(0, 4), (1, 8)])}
        axes = self.made({"DGMw": [[(0, 6), (1, 7)]]}, worst=worst)
        assert drawn.named_lines(axes)["one"] == [[0, 6], [1, 12]]
        assert drawn.named_lines(axes)["other"] == [[0, 4], [1, 8]]
        assert [line.get_color() for line in axes.lines] == [SERIES[0], *SERIES[:2]]
        assert axes.get_ylim()[0] == 0 and drawn.legend(axes) == ["DGMw", *worst]

    @pytest.mark.parametrize(("tasks", "marker"), [(20, "o"), (21, "None")])
    def test_many_tasks_are_a_line_without_markers(self, tasks, marker):
        axes = self.made({"A_t": [[(task, 50.0) for task in range(tasks)]]})
        assert axes.lines[0].get_marker() == marker


class TestHeatMap:
    TABLE = np.array([[99.96, np.nan, np.nan], [40.0, 85.04, np.nan]])

    def made(self, table=TABLE, **changes):
        options = {
            "columns": ["7", "2", "5"],
            "xlabel": "class",
            "scale": "accuracy (%)",
        }
        figure = figures.heat_map(table, **(options | changes))
        figure.canvas.draw()  # lays ticks out
        return figure

    def test_rows_go_down_and_columns_to_the_right(self):
        axes, bar = self.made().axes
        assert labels(axes) == ("", "class", "after task")
        assert bar.get_ylabel() == "accuracy (%)"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["7", "2", "5"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2"]
        (left, top), (right, bottom) = axes.transData.transform([(0, 0), (1, 1)])
        assert left < right and top > bottom

    def test_each_cell_has_its_colour_and_its_number_and_no_value_has_none(self):
        axes = self.made().axes[0]
        (cells,) = axes.collections
        np.testing.assert_array_equal(cells.get_array().filled(np.nan), self.TABLE)
        assert cells.get_clim() == (0, 100)
        written = {text.get_position(): text.get_text() for text in axes.texts}
        assert written == {(0, 0): "100", (0, 1): "40.0", (1, 1): "85.0"}
        # White on dark and black on light.
        assert [to_hex(text.get_color()) for text in axes.texts] == [
            "#000000",
            "#ffffff",
            "#000000",
        ]

    def test_fifty_tasks_are_colours_without_numbers_and_every_fifth_is_named(self):
        table = np.tril(np.full((50, 50), 75.0))
        axes = self.made(table, columns=[str(label) for label in range(50)]).axes[0]
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), table)
        assert list(axes.texts) == [] and image.get_clim() == (0, 100)
        assert [label.get_text() for label in axes.get_yticklabels()][:3] == ["1", "6", "11"]
        assert [label.get_text() for label in axes.get_xticklabels()][:3] == ["0", "5", "10"]
        assert axes.yaxis_inverted()


class TestBars:
    PARTS = {
        "newly reserved": one((1, 3000), (2, 1000)),
        "reused": one((1, 0), (2, 2500)),
        "left free": one((1, 500), (2, 250)),
    }

    def made(self, parts=PARTS, **options):
        (axes,) = figures.bars(parts, ylabel="weights", **options).axes
        return axes

    def test_they_are_stacked_in_the_wanted_unit(self):
        axes = self.made(unit=1000)
        assert labels(axes) == ("", "task", "weights")
        assert drawn.bars(axes) == {
            "newly reserved": [(1, 0, 3), (2, 0, 1)],
            "reused": [(1, 3, 3), (2, 1, 3.5)],
            "left free": [(1, 3, 3.5), (2, 3.5, 3.75)],
        }
        assert drawn.legend(axes) == ["newly reserved", "reused", "left free"]
        assert drawn.whiskers(axes) == []
        assert axes.get_ylim() == (0, pytest.approx(1.05 * 3.75))

    def test_means_have_whiskers_of_one_deviation_at_the_top_of_their_bar(self):
        axes = self.made({"learning": two((1, 3, 0.5)), "evaluation": two((1, 1, 0.25))})
        assert drawn.bars(axes)["evaluation"] == [(1, 3, 4)]
        assert drawn.whiskers(axes) == [(1, 2.5, 3.5), (1, 3.75, 4.25)]
        assert axes.get_ylim()[1] == pytest.approx(1.05 * 4.25)

    def test_they_are_tints_of_the_methods_colour(self):
        bars = self.made(color=SERIES[1]).containers
        assert {to_hex(each[0].get_facecolor()) for each in bars} == {SERIES[1]}

    def test_they_differ_in_more_than_their_colour(self):
        looks = {(bars[0].get_hatch(), bars[0].get_facecolor()) for bars in self.made().containers}
        assert len({hatch for hatch, _ in looks}) == len({colour for _, colour in looks}) == 3


class TestWithinTasks:
    def made(self, points, tasks=2):
        options = {"title": "critic loss", "ylabel": "score", "color": SERIES[1]}
        return figures.within_tasks(points, tasks=tasks, **options).axes[0]

    def test_each_task_has_a_line_and_tasks_are_told_apart(self):
        axes = self.made(one((0.75, 4.0), (1.25, 3.0), (1.75, 2.0), (2.25, 1.0)))
        assert labels(axes) == ("critic loss", "task, divided into its epochs", "score")
        first, border, second = axes.lines
        assert first.get_xydata().tolist() == [[0.75, 4], [1.25, 3]]
        assert second.get_xydata().tolist() == [[1.75, 2], [2.25, 1]]
        assert list(border.get_xdata()) == [1.5, 1.5]
        assert first.get_color() != second.get_color()
        assert axes.get_xlim() == (0.5, 2.5) and drawn.bands(axes) == []

    def test_seeds_give_each_task_a_band(self):
        axes = self.made(two((0.75, 4.0, 1.0), (1.25, 3.0, 0.5)))
        assert drawn.bands(axes) == [[(0.75, 3, 5), (1.25, 2.5, 3.5)]]

    def test_a_single_epoch_is_a_point_and_a_task_without_values_keeps_its_place(self):
        axes = self.made(one((2.0, 4.0)))
        assert axes.lines[-1].get_marker() == "o" and axes.get_xlim() == (0.5, 2.5)

    def test_tasks_are_the_methods_colour_and_grey_in_turn(self):
        lines = self.made(one((1.0, 4.0), (2.0, 3.0), (3.0, 1.0)), tasks=3).lines
        found = [line.get_color() for line in lines if line.get_marker() == "o"]
        assert found == [SERIES[1], figures.MUTED, SERIES[1]]


def test_a_trade_off_has_points_front_beginning_and_choice():
    (axes,) = figures.trade_off(
        [(10, 50.0), (20, 60.0), (30, 55.0)],
        [(10, 50.0), (20, 60.0)],
        xlabel="units",
        ylabel="accuracy (%)",
        marked={"begin": (30, 55.0), "best": (20, 60.0)},
        others=[(5, 20.0)],
    ).axes
    assert labels(axes) == ("", "units", "accuracy (%)")
    assert drawn.named_lines(axes) == {
        "smaller budget": [[5, 20]],
        "trial": [[30, 55]],
        "Pareto front": [[10, 50], [20, 60]],
        "begin": [[30, 55]],
        "best": [[20, 60]],
    }
    (front,) = [line for line in axes.lines if line.get_label() == "Pareto front"]
    # From a point on no more is had until the next one.
    assert front.get_drawstyle() == "steps-post"


def test_files_have_the_figures_size_and_the_same_bytes_each_time(tmp_path):
    figure = figures.lines({"A_t": [[(1, 99.0)]]}, ylabel="%")
    first, second = (figures.write(figure, tmp_path / name) for name in "ab")
    with Image.open(first[0]) as picture:
        assert picture.size == (960, 580)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_name_is_no_formula_and_no_markup():
    figure = figures.lines({r"$\frac <b>&": [[(1, 99.0)]], "$": [[(1, 98.0)]]}, ylabel="%")
    svg = figures.inline_svg(figure, "it")
    assert r"$\frac &lt;b&gt;&amp;" in svg and "<b>" not in svg


# Colours.

# Linear RGB as people without long-wave or medium-wave cones see it (Machado et al. 2009).
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}  # fmt: skip
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip


def lab(color, vision="usual"):
    """CIE L*a*b* of a colour "#rrggbb", its white that of sRGB."""
    red_green_blue = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(
        red_green_blue <= 0.04045, red_green_blue / 12.92, ((red_green_blue + 0.055) / 1.055) ** 2.4
    )
    seen = np.clip(np.array(VISIONS[vision]) @ linear, 0, 1)
    x, y, z = TO_XYZ @ seen / TO_XYZ.sum(axis=1)
    cubed = [v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z)]
    return (
        116 * cubed[1] - 16,
        500 * (cubed[0] - cubed[1]),
        200 * (cubed[1] - cubed[2]),
    )


def test_lab_is_that_of_tables():
    assert lab("#ffffff") == pytest.approx((100, 0, 0), abs=0.01)
    assert lab("#ff0000") == pytest.approx((53.24, 80.09, 67.20), abs=0.02)


def of_the_page(scheme):
    """Colours of the page by variable."""
    text = (Path(figures.__file__).parent / "page.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", text, re.S)[["light", "dark"].index(scheme)]
    return dict(re.findall(r"--([\w-]+): (#\w{6})", block))


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nine_colours_can_be_told_apart_and_from_the_page(scheme, vision):
    colours = of_the_page(scheme)
    series = [colours[f"series-{number}"] for number in range(1, 10)]
    seen = [lab(color, vision) for color in [*series, colours["paper"]]]
    nearest = min(math.dist(a, b) for a, b in itertools.combinations(seen, 2))
    # 2.3 is a just noticeable difference.
    assert nearest > (25 if vision == "usual" else 15)


def test_the_light_page_has_the_colours_of_the_figures():
    colours = of_the_page("light")
    assert SERIES == tuple(colours[f"series-{number}"] for number in range(1, 10))
    names = ("ink", "muted", "faint", "rule")
    assert [colours[name] for name in names] == [getattr(figures, name.upper()) for name in names]


def test_every_method_has_a_look_and_no_two_have_one():
    assert {name.partition("-")[0] for name in LOOKS} == set(METHODS)
    for values in zip(*(LOOKS[name] for name in ELEVEN), strict=True):
        assert len(set(values)) >= 4
    assert len({look.color for look in LOOKS.values()}) == len(ELEVEN)
    assert len({look.marker for look in LOOKS.values()}) == len(ELEVEN)
