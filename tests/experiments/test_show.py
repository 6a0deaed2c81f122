"""Answers of the page of trainers.show, without a page."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from dgm_tf.errors import InputError
from dgm_tf.experiments import show, show_page
from dgm_tf.experiments.show import IMAGES, Memory, look, placed
from tests.tiny_run import MovedDGM, MovedFineTune, run


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A run of three tasks with every checkpoint."""
    return run(tmp_path_factory.mktemp("exact") / "run", MovedDGM())


@pytest.fixture(scope="module")
def memory(exact):
    return Memory(exact)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_gets_a_probability_for_each_class_by_its_name(memory):
    image = memory.of_file(png(np.full([40, 60, 3], 80, np.uint8)))
    assert image.shape == (16, 16, 1) and image.dtype == np.uint8
    found = memory.probabilities(image)
    assert list(found) == ["a", "b", "c", "d"] and sum(found.values()) == pytest.approx(1)
    assert [*found.values()] == memory.model.predict(image)[0].tolist()


def test_a_file_that_is_no_image_is_refused_without_its_place_in_memory(memory):
    with pytest.raises(InputError, match="^image 'dropped on the page' cannot be read: "):
        memory.of_file(b"no image")


def test_images_are_compared_with_the_checkpoint_of_their_task(memory):
    found = memory.compared("b", 7)
    assert found.again is found.now and found.then.shape == (IMAGES, 16, 16, 1)
    np.testing.assert_array_equal(found.now, memory.model.generate(["b"] * IMAGES, seed=7))
    assert found.verdict == (
        "Bit-identical: 16 images are the same now, after task 3, and at the end of task 2."
    )


def test_without_that_checkpoint_they_are_compared_with_the_audit_record():
    found = Memory("digits-demo").compared("4", 7)
    assert found.then.shape == found.again.shape == found.now.shape == (16, 16, 16, 1)
    assert not np.array_equal(found.now, found.again)
    assert "these are the images of its audit record, with seed 20181" in found.verdict
    assert found.verdict.startswith("Bit-identical") or "another machine" in found.verdict


def test_images_of_a_method_that_drifts_are_called_different(tmp_path):
    drifted = Memory(run(tmp_path / "run", MovedFineTune()))
    found = drifted.compared("a", 0)
    assert found.verdict.startswith("Different: ") and "of 4096 pixels are not" in found.verdict
    assert not np.array_equal(found.then, found.now)


def test_a_saved_learner_has_a_verdict_and_no_images_of_that_time(memory, tmp_path):
    saved = Memory(memory.model.save(tmp_path / "saved"))
    found = saved.compared("a", 0)
    assert found.then is None and "have the same bits as at its end" in found.verdict
    assert saved.figures() == {} and "no such table" in show_page.curves(saved)
    saved.model._audit[0]["sha256"] = "other"
    assert "have other bits than at its end" in saved.compared("a", 0).verdict
    saved.model._audit.clear()
    assert "Nothing is kept" in saved.compared("a", 0).verdict


def test_an_exported_model_is_shown_as_it_is_now(memory, tmp_path):
    exported = Memory(memory.model.export(tmp_path / "exported", classifier=True).path)
    found = exported.compared("a", 0)
    assert found.then is None and found.verdict == "An exported model keeps no earlier state."
    assert exported.about == "4 classes, images of 16 x 16 pixels"


@pytest.mark.parametrize(("name", "seed"), [("nobody", 0), ("a", -1)])
def test_what_cannot_be_generated_is_refused(memory, name, seed):
    with pytest.raises(InputError):
        memory.compared(name, seed)


def test_the_curves_are_those_of_the_report_with_accuracy_from_0_to_100(memory):
    found = memory.figures()
    assert list(found) == ["Accuracy", "Growth", "Masks"]
    (axes, *_) = found["Accuracy"][0].figure.axes
    low, high = axes.get_ylim()
    assert low == 0 and high >= 100
    page = show_page.curves(memory)
    assert page.count("<svg") == sum(map(len, found.values())) and "http" not in page.replace(
        "http://www.w3.org", ""
    )


def squares(ground, ink):
    """Images of 16 pixels with a square of 8 in the middle."""
    images = np.full([5, 16, 16, 1], ground, np.float32)
    images[:, 4:12, 4:12] = ink
    return images


@pytest.mark.parametrize(("ground", "ink"), [(-1, 1), (1, -1)])
def test_a_drawing_is_placed_as_the_memorys_own_images_are(ground, ink):
    dark, filled = look(squares(ground, ink))
    assert (dark, filled) == (ground == -1, 0.5)
    drawing = np.zeros([100, 200])
    drawing[10:50, 150:170] = 1  # twice as high as wide
    image = placed(drawing, (16, 16, 1), dark=dark, filled=filled)
    wanted = np.zeros([16, 16, 1], np.uint8)
    wanted[4:12, 6:10] = 255
    np.testing.assert_array_equal(image, wanted if dark else 255 - wanted)


def test_nothing_drawn_is_no_image(memory):
    assert memory.of_drawing(np.zeros([20, 20])) is None
    assert look(np.full([2, 16, 16, 1], -1, np.float32)) == (True, 1.0)


def test_real_digits_drawn_on_a_canvas_are_recognised():
    from sklearn.datasets import load_digits

    memory, digits = Memory("digits-demo"), load_digits()
    right = 0
    for image, label in zip(digits.images[-50:], digits.target[-50:], strict=True):
        canvas = np.zeros([320, 320])
        canvas[60:220, 90:250] = (image / 16).repeat(20, axis=0).repeat(20, axis=1)
        found = memory.probabilities(memory.of_drawing(canvas))
        right += max(found, key=found.get) == str(label)
    assert right >= 45


def test_a_drawing_comes_as_the_darkness_of_its_cells():
    cells = np.zeros([128, 128], np.uint8)
    cells[3, 5] = 255
    found = show_page.ink_of(base64.b64encode(cells.tobytes()).decode())
    assert found.shape == (128, 128) and found[3, 5] == found.sum() == 1
    for wrong in ("AAAA", "no base64", None):
        with pytest.raises((ValueError, TypeError)):
            show_page.ink_of(wrong)


def test_a_strip_holds_its_images_in_rows_of_eight():
    shown = show_page.strip(np.zeros([10, 16, 16, 1], np.uint8))
    assert 'alt="10 images"' in shown and f'width="{4 * (8 * 17 - 1)}"' in shown
    assert "data:image/png;base64," in shown


def test_no_more_than_two_earlier_states_are_held(memory):
    for name in "abc":
        memory.compared(name, 0)
    assert memory._earlier.cache_info().currsize <= show.MOST_TASKS_KEPT
