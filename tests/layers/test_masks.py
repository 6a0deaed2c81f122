"""Eq. 2 and 3, the compensation of the embeddings' gradient, and masks as bits."""

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.layers import masks

RANDOM = np.random.RandomState(0)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


def annealing(step, *, steps_per_epoch, epochs, s_max, annealed_epochs=None):
    """Eq. 3 as the paper writes it, with i and b from 1, in float64; then the steepest scale."""
    if annealed_epochs is not None:
        if step >= annealed_epochs * steps_per_epoch:
            return s_max, s_max
        epochs = annealed_epochs
    i, b = step // steps_per_epoch + 1, step % steps_per_epoch + 1
    low, high = 1.0 / s_max, s_max
    s_max_i = high if epochs == 1 else low + (high - low) * (i - 1) / (epochs - 1)
    if steps_per_epoch == 1:
        return s_max_i, s_max_i
    return s_max_i, 1 / s_max_i + (s_max_i - 1 / s_max_i) * (b - 1) / (steps_per_epoch - 1)


def test_soft_mask_is_the_sigmoid_of_scale_times_embedding():
    embedding = RANDOM.uniform(-6, 6, (3, 4)).astype(np.float32)
    for scale in (1e-4, 0.5, 7.0):
        np.testing.assert_allclose(
            masks.soft_mask(embedding, scale), sigmoid(scale * embedding), rtol=1e-5
        )


def test_binary_mask_is_one_where_the_steepest_soft_mask_reaches_one_half():
    embedding = np.array([-6, -1e-4, -1e-30, -0.0, 0.0, 1e-30, 1e-4, 6], np.float32)
    binary = masks.binary_mask(embedding).numpy()
    assert binary.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert binary.dtype == np.float32
    embedding = RANDOM.uniform(-6, 6, 200).astype(np.float32)
    expected = sigmoid(100.0 * embedding.astype(np.float64)) >= 0.5
    np.testing.assert_array_equal(masks.binary_mask(embedding), expected)


@pytest.mark.parametrize(
    "epochs, steps_per_epoch, s_max",
    [(3, 4, 1e4), (2, 5, 1e5), (4, 1, 1e4), (1, 5, 1e4), (1, 1, 1e5), (3, 3, 1.0)],
)
def test_annealing_follows_the_equation_at_every_step(epochs, steps_per_epoch, s_max):
    for step in range(epochs * steps_per_epoch):
        settings = {"steps_per_epoch": steps_per_epoch, "epochs": epochs, "s_max": s_max}
        expected = annealing(step, **settings)
        found = [float(scale) for scale in masks.annealed_scales(step, **settings)]
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=f"step {step}")


@pytest.mark.parametrize("annealed", [0, 1, 2, 5])
@pytest.mark.parametrize("steps_per_epoch", [1, 4])
def test_an_annealing_that_ends_early_leaves_the_steepest_scale(annealed, steps_per_epoch):
    settings = {"steps_per_epoch": steps_per_epoch, "epochs": 5, "s_max": 1e4}
    for step in range(5 * steps_per_epoch):
        expected = annealing(step, **settings, annealed_epochs=annealed)
        found = masks.annealed_scales(step, **settings, annealed_epochs=annealed)
        found = [float(scale) for scale in found]
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=f"step {step}")


def test_a_single_epoch_ends_at_the_steepest_scale_and_a_single_batch_is_at_its_epochs():
    one_epoch = masks.annealed_scales(6, steps_per_epoch=7, epochs=1, s_max=1e4)
    assert [float(scale) for scale in one_epoch] == [1e4, 1e4]
    s_max_i, scale = masks.annealed_scales(1, steps_per_epoch=1, epochs=3, s_max=1e4)
    assert float(s_max_i) == float(scale)
    np.testing.assert_allclose(float(scale), (1e4 + 1e-4) / 2, rtol=1e-6)


@pytest.mark.parametrize("s_max", [1e4, 1e5])
@pytest.mark.parametrize("steps_per_epoch", [2, 93, 1001])
def test_the_first_epoch_ends_at_a_scale_above_zero(steps_per_epoch, s_max):
    # 1e4 + (1e-4 - 1e4) is 0 in float32.
    _, scale = masks.annealed_scales(
        steps_per_epoch - 1, steps_per_epoch=steps_per_epoch, epochs=2, s_max=s_max
    )
    np.testing.assert_allclose(float(scale), 1 / s_max, rtol=1e-5)


def test_annealing_runs_in_a_graph_from_the_step_counter():
    traces = []

    @tf.function(autograph=False)
    def next_scale(step):
        traces.append(step)
        s_max_i, scale = masks.annealed_scales(step, steps_per_epoch=3, epochs=2, s_max=100.0)
        step.assign_add(1)
        return s_max_i, scale

    step = tf.Variable(0, dtype=tf.int64)
    for number in range(6):
        expected = annealing(number, steps_per_epoch=3, epochs=2, s_max=100.0)
        np.testing.assert_allclose([float(s) for s in next_scale(step)], expected, rtol=1e-4)
    assert len(traces) == 1


def compensated(gradient, embedding, *, scale, s_max_i):
    """The embedding's gradient by HAT's own formula, in float64, from that of its mask."""
    e = embedding.astype(np.float64)
    mask = sigmoid(scale * e)
    steep = np.cosh(np.clip(scale * e, -50, 50)) + 1
    own = gradient * scale * mask * (1 - mask)
    return own * (s_max_i / scale) * steep / (np.cosh(e) + 1)


@pytest.mark.parametrize(("scale", "s_max_i"), [(1e-3, 1e4), (0.2, 7.0), (2.0, 9.0), (8.0, 8.0)])
def test_gradients_of_embeddings_are_compensated_as_in_hat(scale, s_max_i):
    embedding = np.array([-6, -2, -0.3, 0, 0.01, 1, 2], np.float32)  # s e from -48 to 16
    gradient = RANDOM.normal(size=7).astype(np.float32)
    found = masks.embedding_gradient(
        gradient,
        tf.constant(embedding),
        masks.soft_mask(embedding, scale),
        s_max_i=tf.constant(s_max_i),
    )
    expected = compensated(gradient, embedding, scale=scale, s_max_i=s_max_i)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_embeddings_rest_where_their_masks_have_no_slope():
    scale, embedding = 100.0, np.array([-6, -0.6, -0.4, 0.1, 0.3, 6], np.float32)
    gradient = np.full(6, np.nan, np.float32)
    gradient[2:4] = 1.0
    found = masks.embedding_gradient(
        gradient, tf.constant(embedding), masks.soft_mask(embedding, scale), s_max_i=100.0
    )
    # HAT's is below e^-10 of what it was on the left; in float32 a mask is 1 on the right.
    expected = compensated(gradient, embedding, scale=scale, s_max_i=100.0)
    np.testing.assert_allclose(found[2:4], expected[2:4], rtol=1e-5)
    np.testing.assert_array_equal(np.delete(found, [2, 3]), 0)


@pytest.mark.parametrize("shape", [(1,), (8,), (9,), (3, 5), (4, 4, 2, 3)])
def test_masks_come_back_from_bits(shape):
    mask = RANDOM.randint(0, 2, shape)
    bits = masks.pack_bits(mask)
    assert bits.dtype == np.uint8
    assert bits.shape == (masks.packed_size(shape),) == (-(-mask.size // 8),)
    unpacked = masks.unpack_bits(bits, shape)
    assert unpacked.dtype == bool
    np.testing.assert_array_equal(unpacked, mask)
    in_graph = tf.function(masks.unpacked, autograph=False)
    in_graph = in_graph.get_concrete_function(
        tf.TensorSpec([None], tf.uint8), tf.TensorSpec([len(shape)], tf.int32)
    )
    np.testing.assert_array_equal(in_graph(tf.constant(bits), tf.constant(shape)), mask)


def test_the_first_element_lies_in_the_highest_bit():
    # Stored runs depend on it.
    assert masks.pack_bits(np.array([1, 0, 0, 0, 0, 0, 1, 0, 1])).tolist() == [130, 128]
