"""The page: what it shows, that it needs nothing next to it, and what it survives."""

import base64
import html.parser
import importlib
import io
import pkgutil
import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from dgm_tf import learners
from dgm_tf.errors import InputError
from dgm_tf.learners.phase import Phase
from dgm_tf.reporting import figures, numbers, page
from dgm_tf.reporting.pictures import to_uint8
from dgm_tf.reporting.run import read_run
from tests.reporting import drawn
from tests.reporting.example import class_images, description, row, write_run

VOID = {"meta", "link", "img", "br"}


class Checked(html.parser.HTMLParser):
    """Reads a page, and fails where elements are not closed in turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.words, self.images = [], [], [], [], []
        self.captions = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("src", "href", "xlink:href") if key in found]
        self.images += [found] if tag == "img" else []
        if found.get("role") == "img":
            self.captions.append(found["aria-label"].replace("\xa0", " "))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\xa0", " ").split())


def page_of(*folders):
    return page.page_of([read_run(folder) for folder in folders])


def made(tmp_path, rows, described=None, **options):
    return page_of(write_run(tmp_path / "run", rows, described, **options))


def decoded(image):
    data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture
def no_figures(monkeypatch):
    """Leaves out what takes most of the time."""
    monkeypatch.setattr(figures, "inline_svg", lambda figure, name: "<svg></svg>")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The page of a run whose second task's images have changed."""
    rows = [row(task) for task in (1, 2, 3)]
    rows[1]["oracle_accuracy"] = 0.8125
    rows[2]["audit"]["2"] = 5
    return made(tmp_path_factory.mktemp("whole"), rows, samples=[1, 2, 3])


def write_several(folder):
    """Two seeds of DGMw, the second with other numbers, one run of DGMa, and joint training."""
    layers = [
        {"layer": "block_1", "reserved": 20, "free": 30, "initial_free": 30},
        {"layer": "block_2", "reserved": 0, "free": 10, "initial_free": 10},
    ]
    other = row(
        1, class_accuracy={"0": 0.5}, layer_widths=[7, 2], seconds=120.0, layers=layers,
        history={"critic_loss": [1.5, -3.0]}, peak_memory_mib=503.0, mask_overlap=[20],
    )  # fmt: skip
    changes = {"mask_overlap": [10, 20], "generator_parameters": 400}
    second = [other, row(2, class_accuracy={"0": 0.25, "1": 0.75}, **changes), row(3)]
    joint = description(learner="joint", variant="")
    return [
        write_run(folder / "w0", [row(1), row(2)], samples=[2]),
        write_run(folder / "w1", second, description(seed=1)),
        write_run(folder / "a0", [row(1)], description(learner="dgm-a", variant="a"), samples=[1]),
        write_run(folder / "joint", [row(1, generates=False)], joint),
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_several(tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def several(folders):
    return page_of(*folders)


class TestOneRun:
    def test_every_part_is_shown(self, whole):
        shown = Checked(whole)
        for words in (
            "DGMw on toys, seed 0", "class-incremental, 3 tasks of 1 class, toys", "n = 1",
            "97.00", "G_t", "81.25", "3 of 3 30 n/a 1 of 2", "audit: identical after 2 later tasks",
            "audit: 5 of 1024 pixels differ (first after task 3)", "6 min 00 s", "503",
            "python -m trainers.toys --name='a & b'", "f00", "class toy <0>",
            "as learnt in task 1", "variant w", "3.11.7",
        ):  # fmt: skip
            assert words in shown.text, words
        assert "of 3 tasks learnt" not in shown.text
        # A_t, G_t, matrix; growth of all and two layers; masks and overlap; two quantities; cost.
        assert len(shown.captions) == 3 + 3 + 2 + 2 + 3
        assert all("n = 1" in caption for caption in shown.captions)
        assert '<p class="bad">audit: 5 of' in whole and '<p class="quiet">audit: iden' in whole

    def test_samples_stand_as_learnt_and_as_now(self, whole):
        images = {image["alt"]: decoded(image) for image in Checked(whole).images}
        for title, task in (("as learnt in task 1", 1), ("now", 3)):
            strip = np.concatenate(list(to_uint8(class_images(0, task))), axis=1)  # [8, 80, 1]
            found = images[f"class toy <0>, {title}"]
            np.testing.assert_array_equal(found, np.broadcast_to(strip, (8, 80, 3)))
        assert len(images) == 2 + 2 + 1

    @pytest.mark.parametrize("learnt", [0, 2])
    def test_an_unfinished_run_says_how_far_it_is(self, tmp_path, learnt, no_figures):
        shown = Checked(made(tmp_path, [row(task) for task in range(1, learnt + 1)])).text
        wanted = f"{learnt} of 3 tasks learnt" if learnt else "No task of 3 is finished yet"
        assert wanted in shown and "--name='a & b'" in shown

    def test_fifty_tasks_have_a_page(self, tmp_path):
        rows = [row(task) for task in range(1, 51)]
        shown = Checked(made(tmp_path, rows, description(tasks=50), samples=[50]))
        assert len(shown.images) == 40 and "identical after 49 later tasks" in shown.text

    def test_a_learner_that_does_not_grow_and_forgets_has_a_page(self, tmp_path, no_figures):
        rows = [row(task, generates=False, audit_pixels={"1": 1024}) for task in (1, 2)]
        rows[1] |= {"audit": {"1": 900}, "oracle_class_accuracy": {"0": 0.5, "1": 0.75}}
        shown = Checked(made(tmp_path, rows, description(learner="mergan_jtr"), samples=[1, 2]))
        assert "MeRGAN-JTR on toys" in shown.text and "0 of 1" in shown.text
        assert "audit: 900 of 1024 pixels differ (first after task 2)" in shown.text
        assert any("oracle on the generated images" in caption for caption in shown.captions)

    def test_a_slim_folder_has_a_page(self, tmp_path, no_figures):
        rows = [row(1), row(2)]
        for found in rows:
            del found["history"]
        shown = Checked(made(tmp_path, rows, samples=[2]))
        assert "its last one stands for them" in shown.text and len(shown.images) == 2

    def test_the_papers_numbers_stand_next_to_ours_on_the_papers_stream(self, tmp_path):
        described = description(tasks=10, learner="joint")
        described["stream"]["name"] = "mnist"
        text = made(tmp_path, [row(1, generates=False)], described)
        for absent in ("Growth", "Masks", "Generated images", "joint training in the paper"):
            assert absent not in text  # no generator, and other images are measured
        assert "97.66, 98.10 (G)" in Checked(text).text
        described["learner"] = "dgm-w"
        assert "DGMw in the paper" in made(tmp_path, [row(1, generates=False)], described)

    def test_the_same_run_gives_the_same_bytes(self, tmp_path):
        folder = write_run(tmp_path, [row(1, generates=False)], samples=[1])
        first = page.write_page(folder)
        assert first == folder / "report.html"
        other = page.write_page(folder, out=tmp_path / "other.html")
        assert first.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["whole", "several"])
class TestEveryPage:
    def test_it_needs_nothing_next_to_it(self, name, request):
        text = request.getfixturevalue(name)
        shown = Checked(text)
        assert all(link.startswith(("data:", "#")) for link in shown.links)
        assert {link[1:] for link in shown.links if link.startswith("#")} <= set(shown.ids)
        assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(shown.ids)
        assert len(shown.ids) == len(set(shown.ids))
        assert "<script" not in text and "@import" not in text
        assert not re.search(r"(src|href)=.https?:", text)

    def test_figures_take_its_colours(self, name, request):
        text = request.getfixturevalue(name)
        svg = "".join(re.findall(r"<svg.*?</svg>", text, re.S))
        assert "var(--ink)" in svg and "var(--series-1)" in svg
        assert "#1b1f24" not in svg and "#0072b2" not in svg
        assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_names_from_a_run_are_no_markup(tmp_path):
    hostile = "\"'><script>alert(1)</script>&amp;{{ 7 * 7 }}$"
    described = description(a_setting=hostile, **{hostile: 1})
    for key in ("scenario", "command", "date"):
        described[key] = hostile
    described["stream"] |= {"name": hostile, "source": hostile, "class_names": [hostile] * 3}
    described |= {"versions": {hostile: hostile}, "machine": {"cpu": hostile, "gpus": [hostile]}}
    rows = [row(task, history={hostile: [1.0]}) for task in (1, 2)]
    for found in rows:
        found["layers"] = [
            {**layer, "layer": f"{hostile} {layer['free']}"} for layer in found["layers"]
        ]
    one = write_run(tmp_path / "one", rows, described, samples=[1, 2])
    other = write_run(tmp_path / "other", rows, described | {"learner": hostile})
    for text in (page_of(one), page_of(one, other)):
        shown = Checked(text)
        assert "<script" not in text and hostile in shown.text
        assert hostile in shown.images[0]["alt"] and "49" not in shown.text.split("Accuracy")[0]


class TestSeveralRuns:
    def test_they_have_mean_and_spread_and_say_n(self, several):
        shown = Checked(several).text
        assert "4 runs on toys" in shown and "n = 1, 2 runs per method" in shown
        # After task 2: 98 % of both; 8 units each of 18 in the worst case; 180 and 240 seconds.
        assert re.search(
            r"DGMw 2 98\.00 ± 0\.00 .*44\.44 ± 0\.00 3\.50 ± 0\.71 2 of 3 20 n/a 2 of 2", shown
        )
        assert "DGMw (n = 2)" in shown and "joint training (upper bound, n = 1)" in shown
        for seed in (0, 1):
            assert f"DGMw, seed {seed}: {2 + seed} of 3 tasks" in shown

    def test_their_images_stand_together_by_class(self, several):
        shown = Checked(several)
        first, second = "class toy <0>", "class toy <1>"
        assert [image["alt"] for image in shown.images] == [
            f"{first}, DGMw: now", f"{first}, DGMa: as learnt in task 1",
            f"{second}, DGMw: as learnt in task 2",
        ]  # fmt: skip
        assert "DGMw: audit: identical after 1 later task" in shown.text

    def test_images_of_other_data_stand_apart(self, tmp_path, no_figures):
        folders = []
        for name in ("toys", "beads"):
            described = description()
            described["stream"] |= {"name": name, "fingerprint": name}
            folders.append(write_run(tmp_path / name, [row(1)], described, samples=[1]))
        assert [image["alt"] for image in Checked(page_of(*folders)).images] == [
            f"class toy <0> of {name}, DGMw, data {name}: as learnt in task 1"
            for name in ("toys", "beads")
        ]

    def test_runs_of_other_lengths_are_compared_where_both_are(self, tmp_path):
        folders = [
            write_run(
                tmp_path / str(seed),
                [row(task) for task in range(1, tasks + 1)],
                description(tasks=60, seed=seed),
            )
            for seed, tasks in enumerate((60, 10))
        ]
        shown = Checked(page_of(*folders))
        assert "DGMw 2" in shown.text and len(shown.captions) > 8

    def test_runs_without_a_task_are_shown_without_error(self, tmp_path, no_figures):
        folders = [write_run(tmp_path / f"{seed}", [], description(seed=seed)) for seed in (0, 1)]
        assert "DGMw, seed 1: 0 of 3 tasks" in Checked(page_of(*folders)).text
        folders.append(write_run(tmp_path / "2", [row(1)], description(seed=2)))
        assert "DGMw 3" in Checked(page_of(*folders)).text

    def test_the_page_goes_to_the_folder_that_they_share(self, tmp_path, no_figures):
        folders = [
            write_run(tmp_path / "a" / path, [row(1)], description(seed=seed))
            for seed, path in enumerate(("x", "y/z"))
        ]
        assert page.write_page(*folders) == tmp_path / "a" / "report.html"
        assert page.write_page(folders[0], folders[0]) == folders[0] / "report.html"


# Whose numbers are in which figure.


@pytest.fixture
def groups(folders):
    return numbers.groups([read_run(folder) for folder in folders])


def axes_of(shown, name):
    (found,) = [it.figure.axes[0] for it in shown if it.name == name]
    return found


def test_accuracy_is_drawn_from_0_to_100(groups):
    axes = page.accuracy_figure(groups).axes[0]
    assert axes.get_ylim() == (0, 100)
    assert drawn.named_lines(axes) == {
        "DGMw (n = 2)": [[1, 99], [2, 98]], "DGMa (n = 1)": [[1, 99]],
        "joint training (upper bound, n = 1)": [[1, 99]],
    }  # fmt: skip
    assert page.accuracy_figure(groups, "oracle_accuracy") is None


def test_the_matrix_of_a_method_is_the_mean_over_its_seeds(groups):
    shown = page.matrices(groups, "class_accuracy")
    assert [it.name for it in shown] == [f"class-accuracy-{index}" for index in range(3)]
    cells = shown[0].figure.axes[0].collections[0].get_array()
    # 99 and 50; 98 and 25, 98 and 75.
    np.testing.assert_allclose(cells.filled(np.nan), [[74.5, np.nan], [61.5, 86.5]])
    assert shown[0].caption.startswith("DGMw. ")
    assert shown[0].caption.endswith("Mean over n = 2 runs.")
    assert {it.figure.axes[0].collections[0].get_clim() for it in shown} == {(0, 100)}
    assert page.matrices(groups, "oracle_class_accuracy") == []


def test_classes_that_arrive_in_another_order_are_taken_by_their_place(tmp_path):
    other = description(seed=1)
    other["stream"]["task_classes"] = [[2], [0], [1]]
    rows = [
        row(1, class_accuracy={"2": 0.5}, classes=[2]),
        row(2, class_accuracy={"0": 0.75, "2": 0.25}, classes=[0]),
    ]
    folders = [write_run(tmp_path / "0", [row(1), row(2)]), write_run(tmp_path / "1", rows, other)]
    found = numbers.groups([read_run(folder) for folder in folders])
    axes = axes_of(page.matrices(found, "class_accuracy"), "class-accuracy-0")
    cells = axes.collections[0].get_array().filled(np.nan)
    np.testing.assert_allclose(cells, [[74.5, np.nan], [61.5, 86.5]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2"]
    assert "order of arrival" in axes.get_xlabel()


def test_growth_has_a_figure_per_layer_with_every_method_in_it(groups):
    shown = page.growth(groups)
    assert [it.name for it in shown] == ["growth-0", "growth-1", "growth-2"]
    axes = axes_of(shown, "growth-1")
    assert axes.get_ylabel() == "units of block 1"
    assert drawn.named_lines(axes) == {
        "DGMw (n = 2)": [[0, 4], [1, 6], [2, 6]],
        "DGMa (n = 1)": [[0, 4], [1, 5]],
        "worst case": [[0, 4], [1, 8], [2, 12], [3, 16]],
    }


def test_methods_that_begin_with_other_sizes_have_each_a_worst_case(folders, tmp_path):
    small = row(1, initial_layer_widths=[2, 2], layer_widths=[3, 2])
    folder = write_run(tmp_path, [small], description(learner="dgm-a", variant="a"))
    found = numbers.groups([read_run(folders[0]), read_run(folder)])
    axes = page.growth_figure(found).axes[0]
    names = drawn.named_lines(axes)
    assert names["worst case of DGMw"] == [[0, 6], [1, 12], [2, 18]]
    assert names["worst case of DGMa"] == [[0, 4], [1, 8]]
    colours = {line.get_label(): line.get_color() for line in axes.lines}
    for method in ("DGMw", "DGMa"):
        assert colours[f"worst case of {method}"] == colours[f"{method} (n = 1)"]


def test_masks_are_counted_for_each_method_with_whiskers_where_there_are_seeds(groups):
    shown = page.masks(groups)
    assert [it.name for it in shown] == ["masks-0", "masks-1", "overlap-0", "overlap-1"]
    axes = axes_of(shown, "masks-0")
    # Task 1 took 10 and 20 of 40; task 2 of the second run took none, and reuses all 20.
    assert drawn.bars(axes)["newly reserved"] == [(1, 0, 0.015), (2, 0, 0.005)]
    assert drawn.bars(axes)["reused"] == [(1, 0.015, 0.015), (2, 0.005, 0.017)]
    assert len(drawn.whiskers(axes)) == 6 and drawn.whiskers(axes_of(shown, "masks-1")) == []
    assert axes.get_ylabel() == "weights (thousand)"
    assert axes_of(shown, "masks-1").get_ylabel() == "units"
    overlap = axes_of(shown, "overlap-0").collections[0].get_array()
    # 4 of 10 and 10 of 20; 4 of 14 and 10 of 20.
    np.testing.assert_allclose(overlap, [[100, 45], [(400 / 14 + 50) / 2, 100]])


def test_within_tasks_stands_the_mean_over_the_seeds_with_its_band(groups):
    losses, sparsities = page.within_tasks(groups)
    assert [it.name for it in losses] == ["epochs-0-0", "epochs-0-1", "epochs-0-2"]
    axes = axes_of(losses, "epochs-0-0")
    first, border, second = drawn.nameless_lines(axes)
    assert (first, second) == ([[0.75, 1], [1.25, -2]], [[1.75, 0.5], [2.25, -1]])
    # The second run has logged no sparsity in its first task.
    _, second = drawn.nameless_lines(axes_of(sparsities, "epochs-1-0"))
    assert second == [[1.75, 0.5], [2.25, 0.25]]


def test_cost_is_time_for_each_method_and_memory_of_all(groups):
    shown = page.cost(groups)
    assert [it.name for it in shown] == [
        "times-0", "times-1", "times-2", "peak-memory-mib", "generator-parameters",
    ]  # fmt: skip
    # 60 and 120 seconds; twice 120.
    bars = drawn.bars(axes_of(shown, "times-0"))
    assert bars["learning"] == [(1, 0, 1.5), (2, 0, 2)]
    assert bars["evaluation"] == [(1, 1.5, 1.6), (2, 2, 2.1)]
    memory = drawn.named_lines(axes_of(shown, "peak-memory-mib"))
    assert memory["DGMw (n = 2)"] == [[1, 502], [2, 502]]
    parameters = drawn.named_lines(axes_of(shown, "generator-parameters"))
    assert parameters == {"DGMw (n = 2)": [[1, 0.1], [2, 0.3]], "DGMa (n = 1)": [[1, 0.1]]}


def test_every_quantity_that_a_phase_logs_has_a_name_and_a_unit():
    for module in pkgutil.iter_modules(learners.__path__):
        importlib.import_module(f"{learners.__name__}.{module.name}")
    phases, found = [Phase], {}
    while phases:
        phase = phases.pop()
        phases += phase.__subclasses__()
        if phase.__module__.startswith(learners.__name__):
            found[phase.__name__] = set(phase.logged)
    for phase, logged in found.items():
        assert logged <= set(page.QUANTITIES), phase
    assert set.union(*found.values()) == set(page.QUANTITIES)  # and no name is left over


COLOURS = {"DGMw": figures.SERIES[0], "DGMa": figures.SERIES[1], "joint": figures.MUTED}


def test_a_methods_lines_have_one_colour_in_every_figure(groups):
    of_all = [page.accuracy_figure(groups), *(it.figure for it in page.growth(groups))]
    of_all += [it.figure for it in page.cost(groups)[3:]]
    found = {
        (line.get_label().split()[0], line.get_color())
        for figure in of_all
        for line in figure.axes[0].lines
        if " (" in line.get_label()
    }
    assert len(of_all) == 6 and found == set(COLOURS.items())


def test_a_methods_bars_and_epochs_have_its_colour(groups):
    for index, color in enumerate(COLOURS.values()):
        bars = axes_of(page.cost(groups), f"times-{index}").containers[0]
        assert to_hex(bars[0].get_facecolor()) == color
        first, *_ = axes_of(page.within_tasks(groups)[0], f"epochs-0-{index}").lines
        assert first.get_color() == color
    for index, color in enumerate(figures.SERIES[:2]):
        bars = axes_of(page.masks(groups), f"masks-{index}").containers[0]
        assert to_hex(bars[0].get_facecolor()) == color
    alone = axes_of(page.cost(groups[1:2]), "times-0").containers[0]
    assert to_hex(alone[0].get_facecolor()) == COLOURS["DGMa"]


def test_a_fraction_within_tasks_has_the_whole_axis(groups):
    losses, sparsities = page.within_tasks(groups)
    assert {it.figure.axes[0].get_ylim() for it in sparsities} == {(0, 1)}
    assert axes_of(losses, "epochs-0-0").get_ylim() != (0, 1)


# Figures as files.


def test_a_figure_of_nothing_is_an_input_error(folders, tmp_path):
    with pytest.raises(InputError, match="expected runs with a generator that grows"):
        page.write_figure("growth", folders[3:], tmp_path / "growth")
