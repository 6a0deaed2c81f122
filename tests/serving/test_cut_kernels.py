"""An export keeps the kernels that it has cut out, as far as its memory for them goes."""

import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.serving import shared_kernels
from tests.layers.layer_check import bits
from tests.networks.tiny_generator import FORMS
from tests.serving.asking import Function, as_bytes, rows_of
from tests.serving.tiny_export import LABELS, LATENT, exported, learner

KEY = randomness.key(7, "generate")
REQUEST = {
    "labels": LABELS,
    "keys": np.full(len(LABELS), KEY),
    "rows": np.arange(len(LABELS), dtype=np.int64),
}


def asked(model, rows=slice(None)):
    inputs = {name: tf.constant(value[rows]) for name, value in REQUEST.items()}
    return model.signatures["generate"](**inputs)["images"].numpy()


def loaded(form="w"):
    return tf.saved_model.load(str(exported(form).path))


def cut_sizes(form):
    """Numbers that the tasks' kernels, normalisations and output layers take, each filled up."""
    generator = learner(form).generator
    sizes = []
    for task in (1, 2, 3):
        finished = generator.finished_generator(task)
        parts = [finished.head, *(it.kernel for it in finished.blocks)]
        parts += [it.affine for it in finished.blocks]
        sizes.append(sum(-(-int(np.prod(part.shape)) // 16) * 16 for part in parts))
    return sizes


@pytest.mark.parametrize("form", FORMS)
def test_the_first_request_cuts_out_all_tasks_and_the_others_take_them(form):
    model = loaded(form)
    assert model.cut.numpy().size == 0
    own = asked(model, slice(1))
    assert model.cut.numpy().size == sum(cut_sizes(form))
    whole = asked(model)
    np.testing.assert_array_equal(bits(whole[:1]), bits(own))
    np.testing.assert_array_equal(bits(whole), bits(learner(form).generate(LABELS, seed=7)))
    model.cut.assign(0.0 * model.cut)
    assert not asked(model).any()  # nothing is cut out again


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_tasks_for_which_there_is_no_room_have_their_own_images_too(
    form, kept, tmp_path, monkeypatch
):
    room = sum(cut_sizes(form)[:kept])
    monkeypatch.setattr(shared_kernels, "CUT_BYTES", 4 * room + 3)
    done = learner(form).export(tmp_path / "m")
    model = tf.saved_model.load(str(done.path))
    expected = learner(form).generate(LABELS, seed=7)
    for rows in (slice(0), slice(1), slice(3, 4), slice(None)):  # tasks 2 and 1 first
        np.testing.assert_array_equal(bits(asked(model, rows)), bits(expected[rows]))
    assert model.cut.numpy().size == room
    # Of all tasks in any order, and some that cannot be answered.
    rows = rows_of("generate_from_noise", 23, seed=1)
    assert rows["noise"].shape == (23, LATENT)
    usual = Function(str(exported(form).path))("generate_from_noise", rows)
    assert as_bytes(Function(str(done.path))("generate_from_noise", rows)) == as_bytes(usual)


def test_first_requests_at_a_time_get_the_same_bits():
    expected = learner("w").generate(LABELS, seed=7)
    for _ in range(3):
        model = loaded()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _, model=model: asked(model), range(16)))
        for answer in answers:
            np.testing.assert_array_equal(bits(answer), bits(expected))
