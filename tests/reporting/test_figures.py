"""What each figure shows, read back from it, against values found by hand."""

import statistics

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from dgm_tf.reporting import figures
from dgm_tf.reporting.figures import SERIES
from dgm_tf.reporting.numbers import Spread
from tests.reporting import drawn


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

    def test_worst_cases_are_dashed_from_zero_and_named_once(self):
        worst = [[(0, 6), (1, 12)], [(0, 4), (1, 8)]]
        axes = self.made({"DGMw": [[(0, 6), (1, 7)]]}, worst=worst, title="block 1")
        assert labels(axes)[0] == "block 1"
        assert drawn.named_lines(axes)["worst case"] == [[0, 6], [1, 12]]
        assert drawn.nameless_lines(axes) == [[[0, 4], [1, 8]]]
        assert axes.get_ylim()[0] == 0 and drawn.legend(axes) == ["DGMw", "worst case"]

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
            "limits": (40.0, 100.0),
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
        assert cells.get_clim() == (40, 100)
        written = {text.get_position(): text.get_text() for text in axes.texts}
        assert written == {(0, 0): "100", (0, 1): "40.0", (1, 1): "85.0"}

    def test_numbers_are_white_on_dark_and_black_on_light(self):
        axes = self.made().axes[0]
        colours = {text.get_text(): to_hex(text.get_color()) for text in axes.texts}
        assert colours == {"100": "#000000", "40.0": "#ffffff", "85.0": "#000000"}

    def test_fifty_tasks_are_colours_without_numbers_and_every_fifth_is_named(self):
        table = np.tril(np.full((50, 50), 75.0))
        axes = self.made(table, columns=[str(label) for label in range(50)]).axes[0]
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), table)
        assert list(axes.texts) == [] and image.get_clim() == (40, 100)
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

    def test_they_differ_in_more_than_their_colour(self):
        looks = {(bars[0].get_hatch(), bars[0].get_facecolor()) for bars in self.made().containers}
        assert len({hatch for hatch, _ in looks}) == len({colour for _, colour in looks}) == 3


class TestWithinTasks:
    def made(self, points, tasks=2):
        figure = figures.within_tasks(points, tasks=tasks, title="critic loss", ylabel="score")
        return figure.axes[0]

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
        assert axes.lines[-1].get_color() == SERIES[1]


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
        "trial": [[10, 50], [20, 60], [30, 55]],
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
