"""The generator: its formula, its exact memory, what is cut away, and how it grows."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.networks import drawing
from tests.layers.layer_check import bits, check_model
from tests.layers.products import repeated_convolution, transposed_convolution
from tests.networks.tiny_generator import (
    CHANNELS,
    FORMS,
    LATENT,
    SIDE,
    WIDTHS,
    after,
    latents,
    made,
    train,
)

variants = pytest.mark.parametrize("variant", ["w", "a"])
forms = pytest.mark.parametrize("form", FORMS)


def recalled(generator):
    tasks = range(1, len(generator.finished) + 1)
    return [bits(generator.recall(latents(), task)) for task in tasks]


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def numbers(generator, block, task=None):
    """Kernel, mask and affine of a block, of a finished task or of the one being learnt."""
    layer = generator.blocks[block]
    if task is None:
        affine = layer.norm.folded()
        return np.float64(layer.kernel), layer.embedding.numpy() >= 0, np.float64(affine)
    inputs, units = layer.finished[task - 1]
    kernel = np.float64(layer.kernel)[:, :, :units, :inputs]
    return kernel, layer.finished_mask(task), np.float64(layer.norm.affine_of(task))


def reference_images(generator, task=None):
    """The masked pass in NumPy over every unit, nothing cut away."""
    outputs = np.float64(latents())[:, None, None, :]
    for block in range(3):
        kernel, mask, (scale, shift) = numbers(generator, block, task)
        kernel = kernel * mask if generator.variant == "w" else kernel
        if block == 0:
            outputs = transposed_convolution(outputs, kernel, strides=1, padding="valid")
        elif generator.upsampling == "nearest":
            outputs = repeated_convolution(outputs, kernel, strides=2, padding="same")
        else:
            outputs = transposed_convolution(outputs, kernel, strides=2, padding="same")
        outputs = np.maximum(outputs * scale + shift, 0)
        outputs = outputs * mask if generator.variant == "a" else outputs
    head = generator.finished_heads[task - 1] if task else generator.head.kernel.numpy()
    return np.tanh(transposed_convolution(outputs, np.float64(head), strides=2, padding="same"))


# Images.


@forms
def test_images_are_what_the_masked_blocks_and_the_tasks_output_layer_give(form):
    generator = after(1, form=form)
    train(generator, seed=5)
    images = generator(latents())
    assert images.shape == (4, SIDE, SIDE, CHANNELS)
    np.testing.assert_allclose(images, reference_images(generator), atol=1e-4)
    assert 0.05 < np.abs(images).mean() < 0.95  # neither blank nor saturated


@forms
def test_recall_without_the_unused_units_is_the_whole_masked_pass(form):
    generator = after(1, 2, form=form)
    for task in (1, 2):
        images = generator.recall(latents(), task)
        assert images.shape == (4, SIDE, SIDE, CHANNELS)
        np.testing.assert_allclose(images, reference_images(generator, task), atol=1e-4)
        assert 0.05 < np.abs(images).mean() < 0.95


def test_the_reference_network_has_its_shapes():
    generator = made(widths=(80, 40, 20), image_shape=(32, 32, 3), latent_dim=128)
    assert [tuple(block.kernel.shape) for block in generator.blocks] == [
        (4, 4, 80, 128),
        (4, 4, 40, 80),
        (4, 4, 20, 40),
    ]
    shape, sides = (None, 1, 1, 128), []
    for block in generator.blocks:
        shape = block.compute_output_shape(shape)
        sides.append(shape[1])
    assert sides == [4, 8, 16]
    assert tuple(generator.head.kernel.shape) == (4, 4, 3, 20)
    kernels = [block.kernel.numpy() for block in generator.blocks]
    assert [abs(kernel.std() - 0.02) < 0.001 for kernel in kernels] == [True] * 3
    assert not any("bias" in variable.path for variable in generator.weights)


def test_the_label_overwrites_the_first_entries_of_the_noise():
    noise = latents(count=3)
    latent = made().latent(noise, tf.constant([2, 0, 1]), classes=3).numpy()
    np.testing.assert_array_equal(latent[:, :3], [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(latent[:, 3:], noise[:, 3:])


def test_calibration_measures_the_statistics_of_binary_masks():
    generator = made()
    momenta = [block.norm.momentum for block in generator.blocks]
    train(generator, seed=1)
    generator.calibrate(latents(seed=9, count=16))
    kernel, mask, _ = numbers(generator, 0)
    inputs = np.float64(latents(seed=9, count=16))[:, None, None, :]
    products = transposed_convolution(inputs, kernel * mask, strides=1, padding="valid")
    norm = generator.blocks[0].norm
    np.testing.assert_allclose(norm.moving_mean, products.mean((0, 1, 2)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, products.var((0, 1, 2)), rtol=1e-3)
    assert [block.norm.momentum for block in generator.blocks] == momenta


# Memory.


@forms
def test_images_of_finished_tasks_keep_every_bit(form):
    generator, memory = made(form), []
    for task, classes in enumerate((1, 2, 1), start=1):
        train(generator, seed=10 * task)
        before = generator(latents()).numpy()
        generator = generator.finish_task(classes)
        *former, newest = recalled(generator)
        np.testing.assert_array_equal(former, memory)
        np.testing.assert_allclose(newest.view(np.float32), before, atol=1e-4)
        memory.append(newest)
        generator = generator.widen(generator.grown_widths())
        assert_same(recalled(generator), memory)
    train(generator, seed=99)
    generator = generator.widen([units + 7 for units in generator.widths])
    assert_same(recalled(generator), memory)


@forms
def test_it_is_made_again_of_configuration_and_weights_and_of_a_keras_file(form, tmp_path):
    generator = after(1, 2, form=form)
    train(generator, seed=5)

    def outputs(generator):
        return [generator(latents()), *(generator.recall(latents(), task) for task in (1, 2))]

    revived = check_model(generator, outputs, tmp_path)
    assert revived.grown_widths() == generator.grown_widths()
    # Later weights too are drawn the same.
    wider, other = (g.widen([19, 19, 19]) for g in (revived, generator))
    assert_same([bits(w) for w in wider.get_weights()], [bits(w) for w in other.get_weights()])


def test_every_variable_has_a_path_of_its_own():
    # State is stored by path.
    paths = [variable.path for variable in after(1, 2).weights]
    assert len(set(paths)) == len(paths)


def test_weights_come_from_the_seed():
    def kernels(seed):
        return [bits(v) for v in made(seed=seed).weights if v.name == "kernel"]

    assert_same(kernels(1), kernels(1))
    assert all(np.any(one != other) for one, other in zip(kernels(1), kernels(2), strict=True))
    first, second = made(widths=(5, 5, 5)).blocks[1:]
    assert np.any(first.kernel.numpy() != second.kernel.numpy())


def test_an_output_layer_belongs_to_one_task():
    generator = after(1)
    assert generator.head.kernel is generator.learning_variables()[0]
    (kept,) = generator.finished_heads
    before = kept.copy()
    train(generator, seed=2)
    np.testing.assert_array_equal(kept, before)
    begun = made().finish_task(1)
    assert not np.isin(begun.head.kernel.numpy(), begun.finished_heads[0]).any()


# What a finished task uses.


def finished_with(variant, masks, betas):
    """A generator whose first task ended with the given masks (kernel's or units') and offsets."""
    generator = made(variant, widths=(4, 3, 2))
    train(generator, seed=3)
    for block, mask, beta in zip(generator.blocks, masks, betas, strict=True):
        block.embedding.assign(np.where(mask, 1.0, -1.0) * np.ones(block.embedding.shape))
        block.norm.beta.assign(beta)
        block.norm.moving_mean.assign(np.zeros(block.units))
    return generator.finish_task(1)


def test_units_of_variant_w_that_are_dead_or_unread_are_cut_away():
    # Rows: from input; columns: to unit. As [1, 1, units, inputs] kernel masks over all taps.
    first = np.ones((LATENT, 4))
    first[:, 1] = 0  # no weight, offset below 0: dead
    first[:, 2] = 0  # no weight, offset above 0: a constant
    second = np.ones((4, 3))
    second[3] = 0  # nobody reads unit 3 of the first block
    second[:, 1] = 0  # dead
    third = np.ones((3, 2))
    third[:, 0] = 0  # a constant; the output layer reads it
    masks = [mask.T[None, None] for mask in (first, second, third)]
    betas = [[0.1, -0.1, 0.1, 0.1], [0.1, -0.1, 0.1], [0.1, 0.1]]
    generator = finished_with("w", masks, betas)
    assert [used.tolist() for used in generator.used_units(1)] == [[0, 2], [0, 2], [0, 1]]
    np.testing.assert_allclose(
        generator.recall(latents(), 1), reference_images(generator, 1), atol=1e-4
    )


def test_a_single_tap_of_a_kernel_keeps_its_unit():
    masks = [np.zeros((4, 4, *shape)) for shape in ((4, LATENT), (3, 4), (2, 3))]
    masks[0] = np.zeros((2, 2, 4, LATENT))
    masks[0][1, 0, 3, 2] = masks[1][0, 3, 1, 3] = masks[2][2, 2, 0, 1] = 1
    generator = finished_with("w", masks, [[-0.1] * 4, [-0.1] * 3, [-0.1] * 2])
    assert [used.tolist() for used in generator.used_units(1)] == [[3], [1], [0]]


def test_units_of_variant_a_are_cut_by_their_masks():
    masks = [[1, 0, 0, 1], [0, 1, 1], [0, 1]]
    generator = finished_with("a", masks, [[0.1] * 4, [0.1] * 3, [0.1] * 2])
    assert [used.tolist() for used in generator.used_units(1)] == [[0, 3], [1, 2], [1]]


@variants
@pytest.mark.parametrize("offset", [-0.2, 0.2])
@pytest.mark.parametrize("empty", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_task_that_masks_a_whole_block_still_has_its_images(variant, offset, empty):
    sizes = [4, 3, 2]
    masks = [np.full([1] if variant == "a" else [1] * 4, block not in empty) for block in range(3)]
    generator = finished_with(variant, masks, [[offset] * size for size in sizes])
    images = generator.recall(latents(), 1)
    np.testing.assert_allclose(images, reference_images(generator, 1), atol=1e-4)
    expected = recalled(generator)
    generator = generator.widen(generator.grown_widths())
    train(generator, seed=4)
    assert_same(recalled(generator), expected)


# Learning.


@variants
def test_the_gate_knows_the_block_below(variant):
    generator = after(1, 1, form=variant)
    variables = generator.learning_variables()
    gradients = [tf.ones(variable.shape) for variable in variables]
    gated = generator.gated(gradients, generator.soft_masks(1.0), s_max_i=tf.constant(1.0))
    gated = dict(zip([variable.path for variable in variables], gated, strict=True))
    below = None
    for block in generator.blocks:
        reserved = block.reserved.numpy()  # [k, k, units, inputs] or [units]
        expected = reserved
        if variant == "a":
            sides = reserved[:, None] if below is None else np.outer(reserved, below)
            expected = np.broadcast_to(sides, block.kernel.shape)
            below = reserved
        np.testing.assert_array_equal(gated[block.kernel.path], 1 - expected)
        assert 0 < expected.mean() < 1
        # Offsets and scales belong to the task alone.
        np.testing.assert_array_equal(gated[block.norm.beta.path], 1)
    np.testing.assert_array_equal(gated[generator.head.kernel.path], 1)


def test_gradients_of_embeddings_are_compensated():
    generator = made()
    train(generator, seed=1)
    variables = generator.learning_variables()
    masks = generator.soft_masks(2.0)
    differentiated = generator.differentiated(masks)
    gated = generator.gated(
        [tf.ones(variable.shape) for variable in variables], masks, s_max_i=tf.constant(8.0)
    )
    for place, embedding in enumerate(generator.embeddings()):
        index = [variable is embedding for variable in variables].index(True)
        assert differentiated[index] is masks[place]
        e = np.float64(embedding)
        # HAT's factor on the gradient of e, which is the mask's times its slope, s m (1 - m).
        slope = 2 / (2 * (np.cosh(2 * e) + 1))
        expected = slope * 8 / 2 * (np.cosh(2 * e) + 1) / (np.cosh(e) + 1)
        np.testing.assert_allclose(gated[index], expected, rtol=1e-5)
    others = [each for each, mine in zip(differentiated, variables, strict=True) if each is mine]
    assert len(others) == len(variables) - len(masks)


def test_what_training_moves_is_each_kernel_mask_and_norm_and_the_last_output_layer():
    generator = after(1)
    paths = {variable.path for variable in generator.learning_variables()}
    expected = {f"g/block_{n}/{part}" for n in (1, 2, 3) for part in ("kernel", "embedding")}
    expected |= {f"g/block_{n}/norm/{part}" for n in (1, 2, 3) for part in ("gamma", "beta")}
    assert paths == expected | {"g/head_2/kernel"}


def test_embeddings_are_kept_within_six():
    generator = made()
    first = generator.embeddings()[0]
    first.assign(np.linspace(-20, 20, first.numpy().size).reshape(first.shape))
    expected = np.clip(first.numpy(), -6, 6)
    generator.clip_embeddings()
    np.testing.assert_array_equal(first, expected)


@variants
def test_sparsity_is_the_share_of_free_elements_over_all_blocks_together(variant):
    generator = after(1, form=variant)
    train(generator, seed=7)
    taken = free = 0
    for block in generator.blocks:
        mask = 1 / (1 + np.exp(-3.0 * np.float64(block.embedding)))
        taken += np.sum(mask * (1 - np.float64(block.reserved)))
        free += np.sum(1 - np.float64(block.reserved))
    np.testing.assert_allclose(generator.taken(generator.soft_masks(3.0)), taken, rtol=1e-5)
    assert generator.free() == free


# Size.


def test_relative_size_is_by_weights_or_by_units():
    sizes = {"widths": (10, 4, 3), "initial_widths": WIDTHS}
    # 2x2 taps of the first block (16 / 8), 4x4 of the others.
    now = 4 * LATENT * 10 + 16 * 10 * 4 + 16 * 4 * 3
    first = 4 * LATENT * 5 + 16 * 5 * 4 + 16 * 4 * 3
    assert made("w", **sizes).relative_size() == pytest.approx(now / first)
    assert made("a", **sizes).relative_size() == pytest.approx(17 / 12)
    assert made("w").relative_size() == 1.0


def test_grown_widths_of_weights_by_hand():
    generator = made("w")
    counts = [25, 200, 0]  # of 120, 320 and 192
    for block, count in zip(generator.blocks, counts, strict=True):
        embedding = np.full(block.embedding.shape, -1.0)
        embedding.flat[:count] = 1.0
        block.embedding.assign(embedding)
    # 4 taps x 6 inputs = 24 weights a unit: 25 need 2 units. 7 inputs instead of 5 bring the second
    # block 2 x 4 x 16 = 128; 72 are missing, at 112 a unit. The third gets 3 x 16 too many already.
    assert generator.finish_task(1).grown_widths() == (7, 5, 3)


def test_grown_widths_of_units_by_hand():
    generator = made("a")
    masks = [1, 1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1]
    for block, mask in zip(generator.blocks, masks, strict=True):
        block.embedding.assign(np.where(mask, 1.0, -1.0))
    assert generator.finish_task(1).grown_widths() == (7, 4, 6)


@variants
def test_every_task_finds_the_free_capacity_of_the_first_and_the_report_says_so(variant):
    generator = made(variant)
    initial = [row["free"] for row in generator.layer_report()]
    assert initial == ([120, 320, 192] if variant == "w" else [5, 4, 3])
    for task in (1, 2, 3):
        train(generator, seed=task)
        generator = generator.finish_task(1)
        generator = generator.widen(generator.grown_widths())
        for row, block, first in zip(
            generator.layer_report(), generator.blocks, initial, strict=True
        ):
            reserved = block.reserved.numpy()
            assert row["free"] == (reserved == 0).sum() >= first == row["initial_free"]
            assert row["reserved"] == reserved.sum() > 0
            assert (row["inputs"], row["units"]) == tuple(block.kernel.shape[:1:-1])
            assert row["weights"] == block.kernel.numpy().size
            if variant == "a":
                assert row["free"] == first
    assert [row["units"] for row in generator.layer_report()] == list(generator.widths)


def test_parameters_by_hand():
    # Kernels 2x2x6x5, 4x4x5x4, 4x4x4x3, output 4x4x3x2, and two vectors of 5 + 4 + 3.
    assert made().parameters() == 120 + 320 + 192 + 96 + 24
    later = made().finish_task(1)
    assert later.parameters() == made().parameters() + 96 + 24


def test_a_generator_is_not_made_narrower():
    with pytest.raises(InputError, match="only be widened"):
        made().widen([5, 4, 2])


@pytest.mark.parametrize("shape", [(12, 12, 1), (16, 24, 1), (20, 20, 3)])
def test_images_it_cannot_make_are_refused(shape):
    with pytest.raises(InputError, match="multiple of 8"):
        made(image_shape=shape)


@variants
def test_overlaps_are_those_of_the_masks_by_position(variant, monkeypatch):
    generator = after(1, 1, 1, form=variant)
    used = []  # of each task, the places it uses: (block, index ...)
    for task in (1, 2, 3):
        masks = [block.finished_mask(task) for block in generator.blocks]
        used.append({(b, *at) for b, mask in enumerate(masks) for at in np.argwhere(mask).tolist()})
    for task in (1, 2, 3):
        wanted = [len(used[task - 1] & earlier) for earlier in used[:task]]
        assert generator.mask_overlap(task) == wanted
        monkeypatch.setattr("dgm_tf.networks.generator.OVERLAPS", 2)
        assert generator.mask_overlap(task) == wanted[-2:]
        monkeypatch.undo()
    # What is reserved is what any task uses.
    reserved = sum(layer["reserved"] for layer in generator.layer_report())
    assert reserved == len(set.union(*used))


@pytest.mark.parametrize(
    ("side", "widths"),
    [(32, (5, 4, 3)), (32, (120, 40, 29)), (28, (24, 12)), (64, (96, 48, 24, 12))],
)
def test_a_recalled_image_depends_on_its_own_row_alone(side, widths):
    """To the last bit: products sum in another order for another number of rows."""
    generator = made("w", widths=widths, image_shape=(side, side, 3), latent_dim=128)
    generator = generator.finish_task(1)
    latent = tf.constant(np.random.RandomState(0).normal(size=(37, 128)), tf.float32)
    together = bits(generator.recall(latent, 1))
    for cuts in ([0, 1, 3, 10, 26, 37], [0, 16, 36, 37]):
        parts = [bits(generator.recall(latent[a:b], 1)) for a, b in itertools.pairwise(cuts)]
        np.testing.assert_array_equal(np.concatenate(parts), together)
    assert generator.recall(latent[:0], 1).shape == (0, side, side, 3)


def test_one_graph_of_a_kind_draws_the_images_of_every_task_and_width():
    drawing._traced.cache_clear()
    generator = after(1, 2, 1, 1)
    for task in (1, 2, 3, 4):
        drawing.drawn(latents(), generator.finished_generator(task))
        generator.recall(latents(), task)
    assert drawing._traced.cache_info().currsize == 2  # of `drawn`, and of `recall`
