"""The pictures of docs/results, made from the committed runs."""

import re

import numpy as np
import pytest
from PIL import Image

from dgm_tf.reporting import figures
from studies import pictures, results

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


def of_digits(groups, rows, method):
    """The group of a method, and A_t of its rows by the present defaults."""
    (group,) = [group for group in groups if group.runs[0].learner == method]
    return group, [row["A"] for row in results.whole_runs(rows, "digits", method)]


def test_a_curve_and_its_band_are_mean_and_deviation_of_all_seeds(digits, rows):
    """Fine-tuning has rows by an earlier loss, too."""
    group, curves = of_digits(digits, rows, "fine_tune")
    assert len(group.runs) == 1 and len(curves) == 3
    axes = pictures.accuracy_figure([group], rows).axes[0]
    means, deviations = np.mean(curves, axis=0), np.std(curves, axis=0, ddof=1)
    (line,) = [line for line in axes.lines if "n = 3" in str(line.get_label())]
    np.testing.assert_allclose(line.get_ydata(), means, atol=0.01)
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices[:, 1]
    assert corners.max() == pytest.approx((means + deviations).max(), abs=0.01)
    assert corners.min() == pytest.approx((means - deviations).min(), abs=0.01)
    assert axes.get_ylim() == (0, 100)


def test_a_row_without_a_curve_is_in_no_line(digits, rows):
    group, _ = of_digits(digits, rows, "fine_tune")
    missing = [row | {"A": []} if row["seed"] == 1 else row for row in rows]
    assert len(pictures.with_seeds(group, missing).runs) == 2


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
            name: np.mean(of_digits(digits, rows, name)[1], axis=0) for name in pictures.EARLIER
        }
        best = max(ends, key=lambda name: ends[name][-1])
        learners = ["dgm-w", best, "joint", "fine_tune"]
        assert set(curves) == {figures.LOOKS[name].color for name in learners}
        shown = curves[figures.LOOKS[best].color].get_ydata()
        np.testing.assert_allclose(shown, ends[best], atol=0.01)

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
