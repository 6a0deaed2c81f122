"""The pictures of docs/results, made from the committed runs."""

import re

import numpy as np
import pytest
from PIL import Image

from dgm_tf.reporting import figures
from studies import pictures, results
from tests.reporting import drawn

PAGES = results.ROOT / "docs" / "results"
HERO = PAGES / "hero.png"
ROOT = results.ROOT / "results"


@pytest.fixture(scope="module")
def rows():
    return results.read()


@pytest.fixture(scope="module")
def digits():
    return pictures.groups_of(pictures.HERO, ROOT)


@pytest.fixture(scope="module")
def figure(digits, rows):
    return pictures.hero_figure(digits, rows)


def test_the_page_shows_every_picture_that_the_command_writes(tmp_path, monkeypatch):
    # All but the bytes, which take most of the time.
    monkeypatch.setattr(pictures, "write", lambda figure, path: None)
    written = pictures.write_all(ROOT, PAGES)
    assert all(path.is_file() for path in written)
    text = (PAGES / "gallery.md").read_text(encoding="utf-8")
    shown = {PAGES / path for path in re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)}
    assert shown | {HERO} == set(written) == {HERO, *(PAGES / "pictures").iterdir()}


def test_the_first_picture_is_small_and_large_enough():
    assert HERO.stat().st_size < 300_000
    with Image.open(HERO) as picture:
        assert picture.width == 1600  # twice what a page shows


def test_dgm_comes_first():
    for stream in pictures.STREAMS:
        learners = [group.runs[0].learner for group in pictures.groups_of(stream, ROOT)]
        assert learners[0] == "dgm-w" and len(learners) == len(set(learners))


def a10_on_digits(rows, method):
    wanted = ("defaults", "digits", 10, method)
    names = ("group", "dataset", "tasks", "method")
    return [row["A10"] for row in rows if tuple(row[name] for name in names) == wanted]


def test_whiskers_are_mean_and_deviation_of_the_rows_over_seeds(digits, rows):
    (joint,) = [group for group in digits if group.runs[0].learner == "joint"]
    values = a10_on_digits(rows, "joint")
    spread = pictures.spread_after(joint, 10, rows)
    assert len(values) == 3
    assert (spread.mean, spread.n) == (pytest.approx(np.mean(values)), len(values))
    assert spread.deviation == pytest.approx(np.std(values, ddof=1))
    axes = pictures.accuracy_figure([joint], rows).axes[0]
    wanted = (10, spread.mean - spread.deviation, spread.mean + spread.deviation)
    assert drawn.whiskers(axes)[1] == pytest.approx(wanted)
    assert axes.get_ylim() == (0, 100)


def test_rows_by_other_defaults_have_no_part_in_the_whiskers(digits, rows):
    """MeRGAN-RA has rows by an earlier loss, too."""
    (ra,) = [group for group in digits if group.runs[0].learner == "mergan_ra"]
    own = a10_on_digits(rows, "mergan_ra")
    assert pictures.spread_after(ra, 10, rows).mean == pytest.approx(np.mean(own))


def test_a_sheet_has_rows_of_images_with_white_between_them():
    images = [np.full((3, 2, 2, 3), shade, np.uint8) for shade in (10, 20)]
    pixels = pictures.sheet(images, columns=2, zoom=2)
    assert pixels.shape == (4 + 2 + 4, 4 + 2 + 4, 3)
    assert pixels[0, 0, 0] == 10 and pixels[-1, -1, 0] == 20
    assert (pixels[4:6] == 255).all() and (pixels[:, 4:6] == 255).all()


class TestHero:
    def test_fine_tuning_stands_next_to_dgm_ten_rows_each(self, figure):
        sheets = figure.axes[:2]
        assert [axes.get_title(loc="left") for axes in sheets] == ["Fine-tuning", "DGM"]
        for axes in sheets:
            assert [label.get_text() for label in axes.get_yticklabels()] == list("0123456789")

    def test_curves_are_from_0_to_100_with_the_best_earlier_method(self, figure, digits, rows):
        axes = figure.axes[2]
        assert axes.get_ylim() == (0, 100)
        curves = {line.get_color(): line for line in axes.lines if len(line.get_xdata()) == 10}
        ends = {
            group.runs[0].learner: pictures._last(group, rows).mean
            for group in digits
            if group.runs[0].learner in pictures.EARLIER
        }
        best = max(ends, key=ends.get)
        learners = ["dgm-w", best, "joint", "fine_tune"]
        assert set(curves) == {figures.LOOKS[name].color for name in learners}
        (run,) = [group.runs[0] for group in digits if group.runs[0].learner == best]
        wanted = [100 * row["average_accuracy"] for row in run.rows]
        np.testing.assert_allclose(curves[figures.LOOKS[best].color].get_ydata(), wanted)

    def test_words_are_in_the_picture_and_not_on_each_other(self, figure):
        figure.draw_without_rendering()
        axes = figure.axes[2]
        boxes = [text.get_window_extent() for text in axes.texts]
        boxes += [axes.title.get_window_extent(), axes.xaxis.label.get_window_extent()]
        for index, box in enumerate(boxes):
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1
            # Letters reach less far than their boxes.
            inner = box.shrunk(1, 0.8)
            assert not any(inner.overlaps(other.shrunk(1, 0.8)) for other in boxes[:index])


@pytest.mark.slow
def test_every_picture_is_what_the_runs_give(tmp_path):
    for path in pictures.write_all(ROOT, tmp_path):
        committed = PAGES / path.relative_to(tmp_path)
        with Image.open(path) as made, Image.open(committed) as kept:
            assert made.size == kept.size, committed
            # Fonts and Matplotlib may be others.
            pixels = [np.asarray(picture.convert("RGB"), float) for picture in (made, kept)]
            assert np.abs(pixels[0] - pixels[1]).mean() < 3, committed
