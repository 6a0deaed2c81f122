"""The pages: what they show, that they need nothing beside them, and what they survive."""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from dgm_tf.errors import InputError
from dgm_tf.pictures import to_uint8
from dgm_tf.reporting import comparison, numbers, page, sections
from dgm_tf.reporting.run import read_run
from tests.reporting.example import class_images, description, row, write_run

VOID = {"meta", "link", "img", "br"}


class Checked(html.parser.HTMLParser):
    """Reads a page, and fails where elements are not closed in turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.words, self.images = [], [], [], [], []
        self.labels = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("src", "href", "xlink:href") if key in found]
        self.images += [found] if tag == "img" else []
        self.labels += [found["aria-label"]] if tag == "svg" else []
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
        return " ".join(" ".join(self.words).split())


def made(tmp_path, rows, described=None, **options):
    return page.run_page(read_run(write_run(tmp_path / "run", rows, described, **options)))


def decoded(image):
    data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    rows = [row(task) for task in (1, 2, 3)]
    rows[1]["oracle_accuracy"] = 0.8125
    rows[2]["audit"]["2"] = 5
    return made(tmp_path_factory.mktemp("whole"), rows, samples=[1, 2, 3])


def test_the_page_shows_every_part(whole):
    shown = Checked(whole)
    for words in (
        "DGMw on toys, seed 0", "class-incremental, 3 tasks of 1 class, toys", "n = 1",
        "97.00 %", "G_t", "81.25 %", "1 of 2", "audit: identical after 2 later tasks",
        "audit: 5 of 1024 pixels differ (first after task 3)", "the newest task",
        "Units of block 1", "newly reserved", "Mask overlap", "critic_loss", "6 min 00 s", "503",
        "python -m trainers.toys --name='a & b'", "f00", "class 0 toy <0>, task 1",
    ):  # fmt: skip
        assert words in shown.text.replace("\xa0", " "), words
    assert "of 3 tasks learnt" not in shown.text
    # Accuracy, matrix; growth of all and two layers; masks and overlap; two quantities; cost.
    assert len(shown.labels) == 2 + 3 + 2 + 2 + 3 and all(shown.labels)


def test_the_page_needs_nothing_beside_it(whole):
    shown = Checked(whole)
    assert all(link.startswith(("data:", "#")) for link in shown.links)
    assert {link[1:] for link in shown.links if link.startswith("#")} <= set(shown.ids)
    assert {name for name in re.findall(r"url\(#([^)]*)\)", whole)} <= set(shown.ids)
    assert len(shown.ids) == len(set(shown.ids))
    assert "<script" not in whole and "@import" not in whole
    assert not re.search(r"(src|href)=.https?:", whole)


def test_figures_take_the_pages_colours(whole):
    drawn = "".join(re.findall(r"<svg.*?</svg>", whole, re.S))
    assert "var(--ink)" in drawn and "var(--series-1)" in drawn
    assert "#1b1f24" not in drawn and "#0072b2" not in drawn
    assert "prefers-color-scheme: dark" in whole and "@media print" in whole


def test_samples_stand_as_learnt_and_as_now(whole):
    images = {image["alt"]: decoded(image) for image in Checked(whole).images}
    for title, task in (("as learnt", 1), ("now", 3)):
        strip = np.concatenate(list(to_uint8(class_images(0, task))), axis=1)  # [8, 80, 1]
        found = images[f"class 0 toy <0>, task 1, {title}"]
        np.testing.assert_array_equal(found, np.broadcast_to(strip, (8, 80, 3)))
    assert len(images) == 2 + 2 + 1


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ([2, 3], "the pictures drawn when it was learnt are not in the folder"),
        ([3], "The pictures drawn when earlier classes were learnt are not in the folder."),
    ],
)
def test_pictures_that_are_not_there_are_missed_aloud_and_once(tmp_path, kept, words):
    shown = Checked(made(tmp_path, [row(1), row(2), row(3)], samples=kept)).text
    assert words in shown and shown.count("not in the folder") == 1


def test_pictures_that_are_all_there_are_not_missed(whole):
    assert "not in the folder" not in whole


@pytest.mark.parametrize("learnt", [0, 1, 2])
def test_an_unfinished_run_says_how_far_it_is(tmp_path, learnt):
    shown = Checked(made(tmp_path, [row(task) for task in range(1, learnt + 1)])).text
    wanted = f"{learnt} of 3 tasks learnt" if learnt else "No task of 3 is finished yet"
    assert wanted in shown and "--name='a & b'" in shown


def test_a_run_of_one_task_has_a_page(tmp_path):
    shown = Checked(made(tmp_path, [row(1)], description(tasks=1), samples=[1]))
    assert "99.00 %" in shown.text and "of 1 tasks learnt" not in shown.text
    assert len(shown.images) == 1


def test_a_run_of_50_tasks_has_a_page(tmp_path):
    rows = [row(task) for task in range(1, 51)]
    for found in rows:
        found["class_accuracy"] = {str(label): 0.5 for label in range(found["task"])}
        found["average_accuracy"] = 0.5
    shown = Checked(made(tmp_path, rows, description(tasks=50), samples=[1, 50]))
    assert len(shown.images) == 50 + 1
    assert "identical after 49 later tasks" in shown.text


def test_a_learner_without_generator_or_audit_has_a_page(tmp_path):
    rows = [row(task, generates=False) for task in (1, 2)]
    shown = Checked(made(tmp_path, rows, description(learner="joint")))
    assert "joint training on toys" in shown.text
    for heading in ("Growth", "Masks", "What the generator draws", "G_t"):
        assert heading not in shown.text


def test_a_learner_that_does_not_grow_and_forgets_has_a_page(tmp_path):
    rows = [row(task, generates=False, audit_pixels={"1": 1024}) for task in (1, 2)]
    rows[1] |= {"audit": {"1": 900}, "oracle_class_accuracy": {"0": 0.5, "1": 0.75}}
    text = made(tmp_path, rows, description(learner="mergan_jtr"), samples=[1, 2])
    shown = Checked(text).text
    assert "MeRGAN-JTR on toys" in shown and "0 of 1" in shown
    assert '<p class="bad">audit: 900 of 1024 pixels differ (first after task 2)</p>' in text
    assert "oracle on the generated images of each class" in shown and "Growth" not in shown


def test_rows_of_an_older_version_have_a_page(tmp_path):
    rows = [row(1), row(2)]
    for found in rows:
        for key in ("history", "mask_overlap", "peak_memory_mib"):
            del found[key]
    shown = Checked(made(tmp_path, rows)).text
    assert "What it reused was not recorded" in shown and "its last one is shown alone" in shown


def test_the_papers_numbers_stand_beside_ours_on_the_papers_stream(tmp_path):
    described = description(tasks=10)
    described["stream"]["name"] = "mnist"
    rows = [row(task) for task in range(1, 4)]
    assert "DGMw in the paper's Table 1" in Checked(made(tmp_path, rows, described)).text
    described["stream"]["task_classes"] = [[0, 1]] * 5
    assert "Table 1" not in made(tmp_path, rows, described)


def test_the_same_run_gives_the_same_bytes(tmp_path):
    folder = write_run(tmp_path, [row(1)], samples=[1])
    first = page.write_page(folder).read_bytes()
    assert page.write_page(folder, tmp_path / "other.html").read_bytes() == first


class TestComparison:
    def folders(self, tmp_path):
        made = []
        for seed, accuracy in ((0, 0.5), (1, 0.75)):
            changes = {"average_accuracy": accuracy, "layer_widths": [6 + seed, 2]}
            rows = [row(1), row(2, seconds=120.0 + 2 * seed, **changes)]
            made.append(write_run(tmp_path / f"w{seed}", rows, description(seed=seed), samples=[2]))
        rows = [row(1, generates=False)]
        made.append(write_run(tmp_path / "joint", rows, description(learner="joint")))
        return made

    def test_the_page_has_mean_and_spread_and_says_n(self, tmp_path):
        path = comparison.write_comparison(self.folders(tmp_path), tmp_path / "all.html")
        shown = Checked(path.read_text()).text.replace("\xa0", " ")
        # 62.5 and the sample deviation of 50 and 75; units 8 and 9 of 18 in the worst case.
        assert "DGMw 2 2 of 3 62.50 ± 17.68 1.00 ± 0.00 8 ± 1 47 ± 4 2 of 2 identical" in shown
        assert "DGMw (n = 2)" in shown and "joint training (n = 1)" in shown
        assert "n = 1, 2 runs per method" in shown
        assert all(link.startswith(("data:", "#")) for link in Checked(path.read_text()).links)

    def test_the_page_has_every_section_of_a_runs_own_page(self, tmp_path):
        path = comparison.write_comparison(self.folders(tmp_path), tmp_path / "all.html")
        page_of_all = Checked(path.read_text())
        shown = page_of_all.text.replace("\xa0", " ")
        for words in (
            "DGMw. Accuracy on the real test images of each class", "Units of block 1.",
            "DGMw. What each task did with the generator's weights", "DGMw. Mask overlap",
            "DGMw. critic_loss", "DGMw. mask_sparsity", "joint training. Wall-clock time",
            "Peak memory of the process", "Mean over n = 2 runs.",
        ):  # fmt: skip
            assert words in shown, words
        assert len(page_of_all.ids) == len(set(page_of_all.ids))

    def test_time_and_memory_have_a_spread(self, tmp_path):
        shown = Checked(self.page(self.folders(tmp_path))).text
        # 180 and 182 seconds; both peak at 502 MiB.
        assert "DGMw (n = 2) 3 min 01 s ± 1.4 s 502 ± 0 200 ± 0" in shown
        assert "joint training (n = 1) 1 min 00 s 501 n/a" in shown

    def test_time_and_memory_are_those_of_the_tasks_that_all_runs_have(self, tmp_path):
        folders = self.folders(tmp_path)[:2]
        write_run(folders[1], [row(1, seconds=62.0)], description(seed=1))
        shown = Checked(self.page(folders)).text
        assert "DGMw (n = 2) 1 min 01 s ± 1.4 s 501 ± 0 100 ± 0" in shown
        write_run(folders[1], [row(1, seconds=None)], description(seed=1))
        assert "DGMw (n = 2) n/a 501 ± 0" in Checked(self.page(folders)).text

    def page(self, folders):
        return comparison.comparison_page([read_run(folder) for folder in folders])

    def test_a_group_is_compared_where_all_its_runs_are(self, tmp_path):
        folders = self.folders(tmp_path)[:2]
        write_run(folders[1], [row(1)], description(seed=1))
        shown = Checked(comparison.comparison_page(list(map(read_run, folders)))).text
        assert "DGMw 2 1 of 3 99.00 ± 0.00" in shown

    def test_runs_without_a_task_are_compared_without_error(self, tmp_path):
        folders = [write_run(tmp_path / f"{seed}", [], description(seed=seed)) for seed in (0, 1)]
        assert "DGMw" in Checked(comparison.comparison_page(list(map(read_run, folders)))).text

    def test_the_page_goes_beside_the_runs(self, tmp_path):
        folders = [tmp_path / "a" / "x", tmp_path / "a" / "y" / "z"]
        assert comparison.common_page(folders) == tmp_path / "a" / "report.html"


class TestFigures:
    def test_growth_is_written_as_png_and_svg_with_each_method(self, tmp_path):
        described = description(learner="dgm-a")
        folders = [
            write_run(tmp_path / "w", [row(1), row(2)]),
            write_run(tmp_path / "a", [row(1)], described),
        ]
        drawn = sections.growth_figure(numbers.groups([read_run(folder) for folder in folders]))
        (axes,) = drawn.axes
        found = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
        assert found == {
            "DGMw (n = 1)": [[0, 6], [1, 7], [2, 8]],
            "DGMa (n = 1)": [[0, 6], [1, 7]],
            "worst case": [[0, 6], [1, 12], [2, 18]],
        }
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("tasks learnt", "units of the generator")
        png, svg = comparison.write_figure("growth", folders, tmp_path / "out" / "growth.png")
        assert (png.name, svg.name) == ("growth.png", "growth.svg")
        with Image.open(png) as picture:
            assert picture.width > 600
        assert b"<svg" in svg.read_bytes()

    def test_a_figure_of_nothing_is_an_input_error(self, tmp_path):
        folder = write_run(tmp_path, [row(1, generates=False)], description(learner="joint"))
        with pytest.raises(InputError, match="expected runs with a generator that grows"):
            comparison.write_figure("growth", [folder], tmp_path / "growth")
