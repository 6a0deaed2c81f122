"""Names in scripts that the usual font does not have."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import ImageFont

from dgm_tf.reporting import figures, fonts, pictures

# Matplotlib's own fonts: only STIXGeneral has this one, and no font has the other.
ELSEWHERE, NOWHERE = "ᶁ", "\U0010fff0"


def test_a_font_is_found_by_the_letters_that_it_has():
    assert fonts.missing(f"ab ж{ELSEWHERE}") == {ELSEWHERE}
    assert fonts.with_letters(frozenset("ж"))[0] == fonts.USUAL
    family, path = fonts.with_letters(frozenset(ELSEWHERE))
    box, letter = (
        bytes(ImageFont.truetype(path, 20).getmask(each)) for each in (NOWHERE, ELSEWHERE)
    )
    assert family != fonts.USUAL and letter != box
    assert fonts.with_letters(frozenset(NOWHERE)) is None


def drawn(text, tmp_path):
    figure = Figure(figsize=(2, 1))
    figure.text(0.1, 0.5, text)
    png, svg = figures.write(figure, tmp_path / "figure")
    return png.read_bytes(), svg.read_text()


@pytest.mark.parametrize("name", ["犬", "🐕", "собака", ELSEWHERE, NOWHERE])
def test_no_name_of_a_class_is_a_warning(tmp_path, name):
    # Warnings are errors in tests.
    drawn(name, tmp_path)
    figure = figures.heat_map(np.eye(2), columns=[name, "b"], xlabel="class", scale="accuracy (%)")
    assert name in figures.inline_svg(figure, "map")
    images = np.zeros((2, 8, 8, 1), np.float32)
    pictures.sample_grid(images, 1, tmp_path / "grid.png", labels=[name, "b"])


def test_letters_of_another_font_are_no_boxes(tmp_path, monkeypatch):
    there = drawn(ELSEWHERE, tmp_path)
    grid = tmp_path / "grid.png"
    images = np.zeros((1, 8, 8, 1), np.float32)
    pictures.sample_grid(images, 1, grid, labels=[ELSEWHERE])
    with_letter = grid.read_bytes()
    monkeypatch.setattr(fonts, "with_letters", lambda letters: None)
    assert drawn(ELSEWHERE, tmp_path) != there
    pictures.sample_grid(images, 1, grid, labels=[ELSEWHERE])
    assert grid.read_bytes() != with_letter
