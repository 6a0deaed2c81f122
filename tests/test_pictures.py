import io

import numpy as np
import pytest
from PIL import Image

from dgm_tf import pictures
from dgm_tf.errors import InputError
from dgm_tf.pictures import sample_grid, to_uint8

WHITE = 255


def flat(*values, side=3, channels=1):
    """One image of a single value each."""
    return np.stack([np.full((side, side, channels), value, np.float32) for value in values])


def read(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def values_in_rows(pixels, *, side=3, gap=2, margin=0):
    """The red value at the top left corner of each cell."""
    return pixels[gap :: side + gap, margin + gap :: side + gap, 0]


def test_values_go_from_minus_one_and_one_to_0_and_255():
    values = np.array([-1.0, -0.5, 0.0, 0.5, 1.0], np.float32)
    assert to_uint8(values).tolist() == [0, 64, 128, 191, 255]


def test_what_no_picture_can_show_is_clipped():
    values = np.array([-7.0, 7.0, np.inf, -np.inf, np.nan], np.float32)
    assert to_uint8(values).tolist() == [0, 255, 255, 0, 0]


def test_uint8_images_come_back_from_their_scaled_floats():
    every = np.arange(256)
    assert np.array_equal(to_uint8((every / 127.5 - 1).astype(np.float32)), every)


def test_images_stand_row_by_row(tmp_path):
    sample_grid(flat(-1, 0, 1, -1, 0), 3, tmp_path / "grid.png", zoom=1)
    pixels = read(tmp_path / "grid.png")
    assert pixels.shape == (2 * 5 + 2, 3 * 5 + 2, 3)
    assert values_in_rows(pixels).tolist() == [[0, 128, 255], [0, 128, WHITE]]


def test_gaps_are_white(tmp_path):
    sample_grid(flat(-1, -1, -1, -1), 2, tmp_path / "grid.png", zoom=1)
    pixels = read(tmp_path / "grid.png")
    for start in (0, 1, 5, 6, 10, 11):
        assert np.all(pixels[start] == WHITE) and np.all(pixels[:, start] == WHITE)
    assert np.sum(pixels[..., 0] == 0) == 4 * 9


def test_colours_and_orientation_are_kept(tmp_path):
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 3, 3)).astype(np.float32)
    sample_grid(image, 1, tmp_path / "grid.png", zoom=1)
    assert np.array_equal(read(tmp_path / "grid.png")[2:5, 2:5], to_uint8(image[0]))


def test_zoom_makes_squares_of_pixels(tmp_path):
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 3, 1)).astype(np.float32)
    sample_grid(image, 1, tmp_path / "grid.png", zoom=4)
    squares = np.kron(to_uint8(image[0, :, :, 0]), np.ones((4, 4)))
    assert np.array_equal(read(tmp_path / "grid.png")[2:14, 2:14, 1], squares)


def test_each_class_has_rows_of_its_own_with_its_label_in_front(tmp_path):
    images = flat(-1, 0.5, -1, 0.5, -1, side=16)  # black is class 7, three of them; light class 4
    sample_grid(images, 2, tmp_path / "grid.png", labels=[7, 4, 7, 4, 7], zoom=1)
    pixels = read(tmp_path / "grid.png")
    margin = pixels.shape[1] - (2 * 18 + 2)
    cells = values_in_rows(pixels, side=16, margin=margin).tolist()
    assert cells == [[0, 0], [0, WHITE], [191, 191]]
    inked = [bool(np.any(pixels[r * 18 + 2 : r * 18 + 18, :margin] < 128)) for r in range(3)]
    assert inked == [True, False, True]  # the second row of class 7 has no label again


def test_the_margin_is_as_wide_as_the_longest_label(tmp_path):
    sample_grid(flat(0, 0), 1, tmp_path / "short.png", labels=[1, 2])
    sample_grid(flat(0, 0), 1, tmp_path / "long.png", labels=["1", "automobile"])
    assert read(tmp_path / "long.png").shape[1] > read(tmp_path / "short.png").shape[1]


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    sample_grid(flat(0), 1, tmp_path / "samples" / "task-01.png")
    assert [p.name for p in (tmp_path / "samples").iterdir()] == ["task-01.png"]


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        sample_grid(flat(0), 1, tmp_path / "file" / "grid.png")


@pytest.mark.parametrize("shape", [(3, 3, 1), (1, 3, 3, 2), (0, 3, 3, 1)])
def test_what_is_no_batch_of_images_is_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="N, H, W, C"):
        sample_grid(np.zeros(shape, np.float32), 1, tmp_path / "grid.png")


def test_columns_and_labels_must_fit(tmp_path):
    with pytest.raises(ValueError, match="column"):
        sample_grid(flat(0), 0, tmp_path / "grid.png")
    with pytest.raises(ValueError, match="2 labels"):
        sample_grid(flat(0, 0), 1, tmp_path / "grid.png", labels=[1])


class TestReadGrid:
    def test_gives_back_what_was_drawn(self, tmp_path):
        images = np.random.RandomState(0).uniform(-1, 1, (6, 5, 7, 3))
        labels = ["long name"] * 3 + ["b"] * 3
        pictures.sample_grid(images, 3, tmp_path / "a.png", labels=labels)
        found = pictures.read_grid(tmp_path / "a.png", rows=2, image_shape=(5, 7, 3), columns=3)
        np.testing.assert_array_equal(found.reshape(6, 5, 7, 3), pictures.to_uint8(images))

    def test_refuses_a_grid_of_another_size(self, tmp_path):
        pictures.sample_grid(np.zeros((4, 5, 7, 1)), 2, tmp_path / "a.png")
        with pytest.raises(ValueError, match="3 rows of 2 pictures of 5x7 were wanted"):
            pictures.read_grid(tmp_path / "a.png", rows=3, image_shape=(5, 7, 1), columns=2)


def test_png_keeps_every_pixel():
    colour = np.random.RandomState(0).randint(0, 256, (4, 6, 3), np.uint8)
    for pixels in (colour, np.repeat(colour[..., :1], 3, axis=2)):
        with Image.open(io.BytesIO(pictures.png(pixels))) as picture:
            np.testing.assert_array_equal(picture.convert("RGB"), pixels)
