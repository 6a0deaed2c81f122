"""The figures of a page of one run and of several: whose numbers are in which of them."""

import importlib
import pkgutil
import statistics

import numpy as np
import pytest

from dgm_tf import learners
from dgm_tf.learners.phase import Phase
from dgm_tf.reporting import html, numbers, sections
from dgm_tf.reporting.run import read_run
from tests.reporting import drawn
from tests.reporting.example import description, row, write_run

SECTIONS = {
    "matrices": sections.matrices,
    "growth": sections.growth,
    "masks": sections.masks,
    "within_tasks": sections.within_tasks,
    "cost": sections.cost,
}


@pytest.fixture
def shown(monkeypatch):
    """Figures and captions by their names, of whatever is put on a page."""
    found = {}

    def figure(made, name, caption, *, dense=False):
        assert name not in found, "two figures of one name"
        found[name] = made, caption
        return f"<p>{name}</p>"

    monkeypatch.setattr(html, "figure", figure)
    return found


@pytest.fixture
def groups(tmp_path):
    """Two seeds of DGMw, the second with other numbers, one of DGMa, and joint training."""
    first = [row(1), row(2)]
    second = [
        row(
            1,
            class_accuracy={"0": 0.5},
            layer_widths=[7, 2],
            history={"critic_loss": [1.5, -3.0]},
            seconds=120.0,
            peak_memory_mib=503.0,
            mask_overlap=[20],
            layers=[
                {"layer": "block_1", "reserved": 20, "free": 30, "initial_free": 30},
                {"layer": "block_2", "reserved": 0, "free": 10, "initial_free": 10},
            ],
        ),
        row(
            2,
            class_accuracy={"0": 0.25, "1": 0.75},
            mask_overlap=[10, 20],
            generator_parameters=400,
        ),
        row(3),
    ]
    runs = [
        write_run(tmp_path / "w0", first),
        write_run(tmp_path / "w1", second, description(seed=1)),
        write_run(tmp_path / "a0", [row(1)], description(learner="dgm-a", variant="a")),
        write_run(
            tmp_path / "joint", [row(1, generates=False)], description(learner="joint", variant="")
        ),
    ]
    return numbers.groups([read_run(folder) for folder in runs])


def axes_of(found, name):
    return found[name][0].axes[0]


def test_the_matrix_of_a_method_is_the_mean_over_its_seeds(groups, shown):
    sections.matrices(groups)
    assert set(shown) == {"class-accuracy-0", "class-accuracy-1", "class-accuracy-2"}
    figure, caption = shown["class-accuracy-0"]
    cells = figure.axes[0].collections[0].get_array()
    # 99 and 50; 98 and 25, 98 and 75.
    np.testing.assert_allclose(cells.filled(np.nan), [[74.5, np.nan], [61.5, 86.5]])
    assert caption.startswith("DGMw. ") and caption.endswith("Mean over n = 2 runs.")
    assert shown["class-accuracy-1"][1].endswith("n = 1.")
    limits = {name: made.axes[0].collections[0].get_clim() for name, (made, _) in shown.items()}
    assert set(limits.values()) == {(60, 100)}  # so that they compare


def test_classes_that_arrive_in_another_order_are_taken_by_their_place(tmp_path, shown):
    other = description(seed=1)
    other["stream"]["task_classes"] = [[2], [0], [1]]
    rows = [
        row(1, class_accuracy={"2": 0.5}, classes=[2]),
        row(2, class_accuracy={"0": 0.75, "2": 0.25}, classes=[0]),
    ]
    folders = [write_run(tmp_path / "0", [row(1), row(2)]), write_run(tmp_path / "1", rows, other)]
    sections.matrices(numbers.groups([read_run(folder) for folder in folders]))
    axes = axes_of(shown, "class-accuracy-0")
    np.testing.assert_allclose(
        axes.collections[0].get_array().filled(np.nan), [[74.5, np.nan], [61.5, 86.5]]
    )
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    assert "order of arrival" in axes.get_xlabel()


def test_growth_has_a_figure_per_layer_with_every_method_in_it(groups, shown):
    sections.growth(groups)
    assert set(shown) == {"growth-0", "growth-1", "growth-2"}
    assert drawn.named_lines(axes_of(shown, "growth-1")) == {
        "DGMw (n = 2)": [[0, 4], [1, 6], [2, 6]],
        "DGMa (n = 1)": [[0, 4], [1, 5]],
        "worst case": [[0, 4], [1, 8], [2, 12], [3, 16]],
    }
    deviation = statistics.stdev([5, 7])
    (band,) = drawn.bands(axes_of(shown, "growth-1"))
    np.testing.assert_allclose(band, [(0, 4, 4), (1, 6 - deviation, 6 + deviation), (2, 6, 6)])
    caption = shown["growth-0"][1]
    assert "DGMw (n = 2): 6 at the start, 8.0 ± 0.0 after task 2, worst case 18." in caption
    assert "DGMa (n = 1): 6 at the start, 7 after task 1, worst case 12." in caption


def test_masks_are_counted_for_each_method_with_whiskers_where_there_are_seeds(groups, shown):
    sections.masks(groups)
    assert set(shown) == {"masks-0", "overlap-0", "masks-1", "overlap-1"}
    axes = axes_of(shown, "masks-0")
    # Task 1 took 10 and 20 of 40; task 2 of the second run took none, and reuses all 20.
    assert drawn.bars(axes)["newly reserved"] == [(1, 0, 0.015), (2, 0, 0.005)]
    assert drawn.bars(axes)["reused"] == [(1, 0.015, 0.015), (2, 0.005, 0.017)]
    spread = statistics.stdev([10, 20]) / 1000
    np.testing.assert_allclose(drawn.whiskers(axes)[0], (1, 0.015 - spread, 0.015 + spread))
    assert drawn.whiskers(axes_of(shown, "masks-1")) == []
    assert axes_of(shown, "masks-1").get_ylabel() == "units"
    overlap = axes_of(shown, "overlap-0").collections[0].get_array()
    # 4 of 10 and 10 of 20; 4 of 14 and 10 of 20.
    np.testing.assert_allclose(overlap, [[100, 45], [(400 / 14 + 50) / 2, 100]])


def test_within_tasks_stands_the_mean_over_the_seeds_with_its_band(groups, shown):
    sections.within_tasks(groups)
    losses = {name for name in shown if name.startswith("epochs-0")}
    assert losses == {"epochs-0-0", "epochs-0-1", "epochs-0-2"}
    axes = axes_of(shown, "epochs-0-0")
    first, border, second = drawn.nameless_lines(axes)
    assert (first, second) == ([[0.75, 1], [1.25, -2]], [[1.75, 0.5], [2.25, -1]])
    assert border == [[1.5, 0], [1.5, 1]]
    deviation = statistics.stdev([0.5, 1.5])
    assert drawn.bands(axes)[0][0] == pytest.approx((0.75, 1 - deviation, 1 + deviation))
    # The second run has logged no sparsity in its first task.
    first, _, second = drawn.nameless_lines(axes_of(shown, "epochs-1-0"))
    assert (first, second) == ([], [[1.75, 0.5], [2.25, 0.25]])


def test_cost_is_time_for_each_method_and_memory_of_all(groups, shown):
    sections.cost(groups)
    assert set(shown) == {
        "times-0", "times-1", "times-2", "peak-memory-mib", "generator-parameters",
    }  # fmt: skip
    # 60 and 120 seconds; twice 120.
    bars = drawn.bars(axes_of(shown, "times-0"))
    assert bars["learning"] == [(1, 0, 1.5), (2, 0, 2)]
    assert bars["evaluation"] == [(1, 1.5, 1.6), (2, 2, 2.1)]
    memory = drawn.named_lines(axes_of(shown, "peak-memory-mib"))
    assert memory["DGMw (n = 2)"] == [[1, 502], [2, 502]]
    assert memory["joint training (n = 1)"] == [[1, 501]]
    parameters = drawn.named_lines(axes_of(shown, "generator-parameters"))
    assert parameters == {"DGMw (n = 2)": [[1, 0.1], [2, 0.3]], "DGMa (n = 1)": [[1, 0.1]]}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_run_by_itself_has_no_spread(name, groups, shown):
    SECTIONS[name]([numbers.Group("DGMw", groups[0].runs[:1])])
    assert shown
    for figure, caption in shown.values():
        axes = figure.axes[0]
        assert drawn.whiskers(axes) == []
        assert len(figure.axes) > 1 or drawn.bands(axes) == []  # a colour bar has axes of its own
        assert "n = 1" in caption and "Mean over" not in caption


@pytest.mark.parametrize("name", SECTIONS)
def test_what_no_run_has_is_left_out(name, tmp_path, shown):
    run = read_run(write_run(tmp_path, []))
    SECTIONS[name]([numbers.Group("DGMw", (run,))])
    assert shown == {}


def test_every_quantity_that_a_phase_logs_has_a_name_and_a_unit():
    for module in pkgutil.iter_modules(learners.__path__):
        importlib.import_module(f"{learners.__name__}.{module.name}")
    phases, found = [Phase], {}
    while phases:
        phase = phases.pop()
        phases += phase.__subclasses__()
        if phase.__module__.startswith(learners.__name__):
            found[phase.__name__] = set(phase.logged)
    assert {"critic_loss", "protection"} <= found["GANPhase"]
    assert "mask_sparsity" in found["AdversarialPhase"]
    assert "classifier_loss" in found["ClassifierPhase"]
    for phase, logged in found.items():
        assert logged <= set(sections.QUANTITIES), phase
    assert set.union(*found.values()) == set(sections.QUANTITIES)  # and no name is left over
