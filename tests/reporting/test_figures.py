"""What each figure draws, read back from it, against values found by hand."""

import io
import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from dgm_tf.reporting import figures
from dgm_tf.reporting.figures import SERIES, Line
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
    def test_a_curve_is_its_means_with_a_band_of_one_deviation_and_a_dot_per_run(self):
        curve = Line(
            "DGMw (n = 2)",
            two((1, 90.0, 2.0), (2, 80.0, 5.0)),
            dots=[(1, 88.6), (1, 91.4), (2, 76.5)],
            published=[(5, 80.37), (10, 67.05)],
            published_name="DGMw in the paper",
        )
        (axes,) = figures.lines([curve], ylabel="accuracy (%)").axes
        assert labels(axes) == ("", "tasks learnt", "accuracy (%)")
        assert drawn.named_lines(axes) == {
            "DGMw (n = 2)": [[1, 90], [2, 80]],
            "DGMw in the paper": [[5, 80.37], [10, 67.05]],
        }
        assert drawn.nameless_lines(axes) == [[[1, 88.6], [1, 91.4], [2, 76.5]]]
        assert drawn.bands(axes) == [[(1, 88, 92), (2, 75, 85)]]
        assert drawn.legend(axes) == ["DGMw (n = 2)", "DGMw in the paper"]

    def test_the_papers_points_are_hollow_diamonds_that_no_line_joins(self):
        curve = Line("A_t", one((1, 99.0)), published=[(5, 98.0)], published_name="the paper's")
        (axes,) = figures.lines([curve], ylabel="%").axes
        (paper,) = [line for line in axes.lines if line.get_label() == "the paper's"]
        assert paper.get_marker() == "D" and paper.get_linestyle() == "None"
        assert paper.get_markerfacecolor() == "none"

    def test_one_run_has_neither_band_nor_dots(self):
        (axes,) = figures.lines([Line("A_t", one((1, 99.0), (2, 98.0)))], ylabel="%").axes
        assert drawn.named_lines(axes) == {"A_t": [[1, 99], [2, 98]]}
        assert drawn.bands(axes) == [] and drawn.nameless_lines(axes) == []

    def test_lines_differ_in_more_than_their_colour(self):
        curves = [Line(str(style), one((1, 1.0), (2, 2.0)), style=style) for style in range(4)]
        (axes,) = figures.lines(curves, ylabel="%").axes
        looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines]
        assert [len(set(look)) for look in zip(*looks, strict=True)] == [4, 4, 4]
        assert looks[0][0] == SERIES[0]

    def test_worst_cases_are_dashed_from_zero_and_named_once(self):
        worst = [[(0, 6), (1, 12)], [(0, 4), (1, 8)]]
        curve = Line("DGMw", one((0, 6), (1, 7)))
        (axes,) = figures.lines([curve], ylabel="units", worst=worst, title="block 1").axes
        assert labels(axes) == ("block 1", "tasks learnt", "units")
        assert drawn.named_lines(axes) == {
            "DGMw": [[0, 6], [1, 7]],
            "worst case": [[0, 6], [1, 12]],
        }
        assert drawn.nameless_lines(axes) == [[[0, 4], [1, 8]]]
        assert axes.get_ylim()[0] == 0 and drawn.legend(axes) == ["DGMw", "worst case"]

    def test_many_tasks_are_a_line_without_markers(self):
        found = []
        for tasks in (20, 21):
            curve = Line("A_t", one(*((task, 50.0) for task in range(1, tasks + 1))))
            (axes,) = figures.lines([curve], ylabel="%").axes
            found.append(axes.lines[0].get_marker())
        assert found == ["o", "None"]


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
        figure = self.made()
        axes, bar = figure.axes
        assert labels(axes) == ("", "class", "after task")
        assert bar.get_ylabel() == "accuracy (%)"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["7", "2", "5"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2"]
        first, second = (axes.transData.transform((0, row))[1] for row in (0, 1))
        assert first > second  # task 1 stands above task 2
        left, right = (axes.transData.transform((column, 0))[0] for column in (0, 1))
        assert left < right

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
        light = self.made(np.array([[40.0]]), columns=["7"], limits=(0.0, 60.0)).axes[0]
        assert to_hex(light.texts[0].get_color()) == "#000000"

    def test_fifty_tasks_are_colours_alone_and_every_fifth_is_named(self):
        table = np.tril(np.full((50, 50), 75.0))
        axes = self.made(table, columns=[str(label) for label in range(50)]).axes[0]
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), table)
        assert list(axes.texts) == [] and image.get_clim() == (40, 100)
        ticks = dict(zip(axes.get_yticks(), axes.get_yticklabels(), strict=True))
        assert {place: text.get_text() for place, text in ticks.items()} == {
            place: str(place + 1) for place in range(0, 50, 5)
        }
        assert [label.get_text() for label in axes.get_xticklabels()][:3] == ["0", "5", "10"]
        first, last = (axes.transData.transform((0, row))[1] for row in (0, 49))
        assert first > last


class TestBars:
    PARTS = {
        "reserved": one((1, 3000), (2, 1000)),
        "reused": one((1, 0), (2, 2500)),
        "free": one((1, 500), (2, 250)),
    }

    def test_weights_are_stacked_in_thousands(self):
        (axes,) = figures.mask_use(self.PARTS, elements="weights").axes
        assert labels(axes) == ("", "task", "weights (thousand)")
        assert drawn.bars(axes) == {
            "newly reserved": [(1, 0, 3), (2, 0, 1)],
            "reused": [(1, 3, 3), (2, 1, 3.5)],
            "left free": [(1, 3, 3.5), (2, 3.5, 3.75)],
        }
        assert drawn.legend(axes) == ["newly reserved", "reused", "left free"]
        assert drawn.whiskers(axes) == []
        assert axes.get_ylim() == (0, pytest.approx(1.05 * 3.75))

    def test_units_are_counted_as_they_are_and_what_is_not_known_is_left_out(self):
        known = {part: self.PARTS[part] for part in ("reserved", "free")}
        (axes,) = figures.mask_use(known, elements="units").axes
        assert labels(axes) == ("", "task", "units")
        assert drawn.bars(axes) == {
            "newly reserved": [(1, 0, 3000), (2, 0, 1000)],
            "left free": [(1, 3000, 3500), (2, 1000, 1250)],
        }

    def test_means_have_whiskers_of_one_deviation_at_the_top_of_their_bar(self):
        parts = {"reserved": two((1, 3000, 500)), "free": two((1, 1000, 250))}
        (axes,) = figures.mask_use(parts, elements="weights").axes
        assert drawn.bars(axes)["left free"] == [(1, 3, 4)]
        assert drawn.whiskers(axes) == [(1, 2.5, 3.5), (1, 3.75, 4.25)]
        assert axes.get_ylim()[1] == pytest.approx(1.05 * 4.25)

    def test_bars_differ_in_more_than_their_colour(self):
        (axes,) = figures.mask_use(self.PARTS, elements="weights").axes
        looks = {(bars[0].get_hatch(), bars[0].get_facecolor()) for bars in axes.containers}
        assert len({hatch for hatch, _ in looks}) == len({colour for _, colour in looks}) == 3

    def test_times_are_stacked_in_minutes(self):
        parts = {"learning": one((1, 120), (2, 90)), "evaluation": one((1, 6), (2, 30))}
        (axes,) = figures.times(parts).axes
        assert labels(axes) == ("", "task", "minutes")
        assert drawn.bars(axes) == {
            "learning": [(1, 0, 2), (2, 0, 1.5)],
            "evaluation": [(1, 2, 2.1), (2, 1.5, 2)],
        }


class TestWithinTasks:
    def made(self, tasks):
        (axes,) = figures.within_tasks(tasks, title="critic loss", ylabel="score").axes
        return axes

    def test_each_task_has_a_line_and_tasks_are_told_apart(self):
        axes = self.made([one((0.75, 4.0), (1.25, 3.0)), one((1.75, 2.0), (2.25, 1.0))])
        assert labels(axes) == ("critic loss", "task, divided into its epochs", "score")
        first, border, second = axes.lines
        assert first.get_xydata().tolist() == [[0.75, 4], [1.25, 3]]
        assert second.get_xydata().tolist() == [[1.75, 2], [2.25, 1]]
        assert list(border.get_xdata()) == [1.5, 1.5]
        assert first.get_color() != second.get_color()
        assert axes.get_xlim() == (0.5, 2.5) and drawn.bands(axes) == []

    def test_seeds_give_each_task_a_band(self):
        axes = self.made([two((0.75, 4.0, 1.0), (1.25, 3.0, 0.5))])
        assert drawn.bands(axes) == [[(0.75, 3, 5), (1.25, 2.5, 3.5)]]

    def test_a_single_epoch_is_a_point(self):
        assert self.made([one((1.0, 4.0))]).lines[0].get_marker() == "o"

    def test_a_task_without_values_keeps_its_place(self):
        axes = self.made([[], one((1.75, 2.0), (2.25, 1.0))])
        assert axes.get_xlim() == (0.5, 2.5)
        assert axes.lines[-1].get_xydata().tolist() == [[1.75, 2], [2.25, 1]]


class TestTradeOff:
    def test_points_front_beginning_and_choice(self):
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

    def test_points_can_have_names_and_deviations(self):
        (axes,) = figures.trade_off(
            [(10, 50.0), (20, 60.0)],
            [(10, 50.0)],
            xlabel="units",
            ylabel="accuracy (%)",
            each="mean",
            names=["small", "large"],
            deviations=[2.0, None],
        ).axes
        assert {text.get_text(): text.xy for text in axes.texts} == {
            "small": (10, 50.0),
            "large": (20, 60.0),
        }
        (bars,) = axes.containers
        (segment,) = bars.lines[2][0].get_segments()
        assert segment.tolist() == [[10, 48], [10, 52]]
        assert "mean" in drawn.named_lines(axes)

    def test_no_name_of_a_point_runs_out_of_the_figure(self):
        figure = figures.trade_off(
            [(10, 50.0), (20, 60.0), (90, 61.0)],
            [(10, 50.0)],
            xlabel="units",
            ylabel="accuracy (%)",
            each="mean",
            names=["generator-12", "sparsity-high", "generator-32"],
        )
        figure.draw_without_rendering()
        for text in figure.axes[0].texts:
            box = text.get_window_extent()
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text.get_text()

    def test_names_of_neighbours_stand_apart(self):
        points = [(720, 83.63), (790, 83.71), (835, 83.97), (1470, 83.94)]
        figure = figures.trade_off(
            points,
            points[:1],
            xlabel="units",
            ylabel="accuracy (%)",
            names=["sparsity-high", "base", "sparsity-low", "generator-32"],
            deviations=[0.2, 0.7, 0.4, 0.7],
        )
        figure.draw_without_rendering()
        (axes,) = figure.axes
        boxes = [text.get_window_extent() for text in axes.texts]
        dots = axes.transData.transform(points)
        assert len(boxes) == 4
        for box, other in itertools.combinations(boxes, 2):
            assert not box.overlaps(other)
        for box, dot in itertools.product(boxes, dots):
            assert not box.contains(*dot)


def test_a_png_has_the_figures_size_at_the_wanted_density():
    figure = figures.lines([Line("A_t", one((1, 99.0)))], ylabel="%")
    with Image.open(io.BytesIO(figures.png_bytes(figure, dots_per_inch=100))) as picture:
        assert picture.size == (480, 290)
