"""Grids of images as PNG files, written and read back."""

import io

import numpy as np
import pytest
from PIL import Image

from dgm_tf.errors import InputError
from dgm_tf.reporting import pictures
from dgm_tf.reporting.pictures import sample_grid, to_uint8

WHITE = 255
SIDE = 2 * 8 + 2  # of a picture of 8 x 8 and the gap behind it


def flat(*values):
    """Images of a single value each."""
    return np.stack([np.full((8, 8, 1), value, np.float32) for value in values])


def read(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([-1.0, -0.5, 0.0, 0.5, 1.0], [0, 64, 128, 191, 255]),
        ([-7.0, 7.0, np.inf, -np.inf, np.nan], [0, 255, 255, 0, 0]),
        (np.arange(256) / 127.5 - 1, range(256)),
    ],
)
def test_values_go_from_minus_one_and_one_to_0_and_255(values, wanted):
    assert to_uint8(np.array(values, np.float32)).tolist() == list(wanted)


def test_each_class_has_rows_of_its_own_with_its_label_in_front(tmp_path):
    # Black is class 7, three of them; light is class 4.
    images = flat(-1, 0.5, -1, 0.5, -1)
    sample_grid(images, 2, tmp_path / "grid.png", labels=[7, 4, 7, 4, 7])
    pixels = read(tmp_path / "grid.png")
    margin = pixels.shape[1] - (2 * SIDE + 2)
    assert pixels.shape[0] == 3 * SIDE + 2
    cells = pixels[2::SIDE, margin + 2 :: SIDE, 0].tolist()
    assert cells == [[0, 0], [0, WHITE], [191, 191]]
    inked = [bool(np.any(pixels[r * SIDE + 2 : (r + 1) * SIDE, :margin] < 128)) for r in range(3)]
    assert inked == [True, False, True]  # the second row of class 7 has no label again


def test_gaps_are_white(tmp_path):
    sample_grid(flat(-1, -1, -1, -1), 2, tmp_path / "grid.png", labels=[" ", " ", " ", " "])
    pixels = read(tmp_path / "grid.png")[:, -(2 * SIDE + 2) :]
    for start in (0, 1, SIDE, SIDE + 1, 2 * SIDE, 2 * SIDE + 1):
        assert np.all(pixels[start] == WHITE) and np.all(pixels[:, start] == WHITE)
    assert np.sum(pixels[..., 0] == 0) == 4 * 16 * 16


def test_the_margin_is_as_wide_as_the_longest_label(tmp_path):
    sample_grid(flat(0, 0), 1, tmp_path / "short.png", labels=[1, 2])
    sample_grid(flat(0, 0), 1, tmp_path / "long.png", labels=["1", "automobile"])
    assert read(tmp_path / "long.png").shape[1] > read(tmp_path / "short.png").shape[1]


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        sample_grid(flat(0), 1, tmp_path / "file" / "grid.png", labels=[0])


def test_a_grid_gives_back_the_images_in_it(tmp_path):
    images = np.random.RandomState(0).uniform(-1, 1, (20, 5, 7, 3))
    path = tmp_path / "samples" / "a.png"
    sample_grid(images, 10, path, labels=["long name"] * 10 + ["b"] * 10)
    found = pictures.read_grid(path, rows=2, image_shape=(5, 7, 3))
    np.testing.assert_array_equal(found.reshape(images.shape), to_uint8(images))
    with pytest.raises(ValueError, match="3 rows of 10 pictures of 5x7 were wanted"):
        pictures.read_grid(path, rows=3, image_shape=(5, 7, 3))
    assert [found.name for found in path.parent.iterdir()] == ["a.png"]


def test_png_keeps_every_pixel():
    colour = np.random.RandomState(0).randint(0, 256, (4, 6, 3), np.uint8)
    for pixels in (colour, np.repeat(colour[..., :1], 3, axis=2)):
        with Image.open(io.BytesIO(pictures.png(pixels))) as picture:
            np.testing.assert_array_equal(picture.convert("RGB"), pixels)


def test_a_grid_of_a_run_shows_forty_classes_at_most():
    assert pictures.shown_classes(range(40), [39]) == list(range(40))
    found = pictures.shown_classes(range(1000), range(995, 1000))
    assert len(found) == 40 == len(set(found)) and found == sorted(found)
    assert found[0] == 0 and found[-5:] == [995, 996, 997, 998, 999]
    assert len(pictures.shown_classes(range(100), range(100))) == 40
    assert len(pictures.shown_classes(range(100), range(5, 100))) == 40


def test_a_long_name_leaves_room_for_the_pictures(tmp_path):
    names = ["a" * 1000] * 2 + ["a" * 1000 + "b"] * 2
    sample_grid(np.zeros((4, 8, 8, 1)), 2, tmp_path / "grid.png", labels=names)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.width < 500 and grid.height == 2 * (2 * 8 + 2) + 2
