"""Masked layers, all kinds in one table: the formula, the gate, the bits, growth and memory."""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.errors import InputError
from dgm_tf.layers import MaskedConv2D, MaskedConv2DTranspose, MaskedDense
from tests.layers.layer_check import bits, check_layer, fill
from tests.layers.products import (
    convolution,
    dense,
    repeated_convolution,
    transposed_convolution,
)

INPUTS, UNITS = 3, 4


@dataclasses.dataclass(frozen=True)
class Kind:
    """A row of the table: a layer, what it takes, and its product in NumPy."""

    name: str
    layer: Callable
    input_shape: tuple[int, ...]
    product: Callable
    options: dict
    in_axis: int = -2
    out_axis: int = -1

    def make(self, units=UNITS, **options):
        return self.layer(units, **{**self.options, **options})

    def built(self, inputs=INPUTS, **options):
        """A layer with all its numbers drawn at random."""
        layer = self.make(**options)
        layer.build((*self.input_shape[:-1], inputs))
        fill(layer, seed=inputs + layer.units)
        return layer

    def data(self, inputs=INPUTS):
        shape = (*self.input_shape[:-1], inputs)
        return np.random.RandomState(inputs).normal(size=shape).astype(np.float32)

    def reference(self, inputs, kernel):
        form = {name: self.options[name] for name in ("strides", "padding") if self.options}
        return self.product(np.float64(inputs), np.float64(kernel), **form)

    def along(self, values, axis):
        """A vector over inputs or units, shaped to multiply the kernel."""
        shape = [1] * (4 if self.options else 2)
        shape[axis] = -1
        return np.reshape(values, shape)


def _convolution(layer, kernel_size, strides, padding, product=convolution, **more):
    axes = {} if product is convolution else {"in_axis": -1, "out_axis": -2}
    return Kind(
        "-".join([layer.__name__, str(kernel_size), str(strides), padding, *more.values()]),
        layer,
        (2, 5, 5, INPUTS),
        product,
        {"kernel_size": kernel_size, "strides": strides, "padding": padding, **more},
        **axes,
    )


def _transposed(*form):
    return _convolution(MaskedConv2DTranspose, *form, transposed_convolution)


def _repeated(*form):
    return _convolution(MaskedConv2DTranspose, *form, repeated_convolution, upsampling="nearest")


DENSE = Kind("MaskedDense", MaskedDense, (5, INPUTS), dense, {})
FORMS = [
    DENSE,
    _convolution(MaskedConv2D, 3, 1, "same"),
    _convolution(MaskedConv2D, 5, 2, "same"),
    _convolution(MaskedConv2D, 3, 2, "valid"),
    _transposed(4, 2, "same"),
    _transposed(4, 1, "valid"),
    _transposed(3, 2, "valid"),
    _repeated(3, 2, "same"),
    _repeated(5, 3, "same"),
    _repeated(2, 2, "valid"),
]
KINDS = [DENSE, FORMS[2], FORMS[4], FORMS[7]]

forms = pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.name)
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
variants = pytest.mark.parametrize("variant", ["w", "a"])
normalizations = pytest.mark.parametrize("normalize", [False, True], ids=["plain", "normalized"])


def mask_of(layer, scale):
    embedding = np.float64(layer.embedding.numpy())
    return embedding >= 0 if scale is None else 1 / (1 + np.exp(-scale * embedding))


def reference_outputs(kind, layer, inputs, *, scale, training=False):
    """`mask_a(activation(norm((mask_w * kernel) x)))` in float64, for a ReLU layer."""
    kernel, mask = np.float64(layer.kernel.numpy()), mask_of(layer, scale)
    outputs = kind.reference(inputs, kernel * mask if layer.variant == "w" else kernel)
    if layer.normalize:
        norm = layer.norm
        axes = tuple(range(outputs.ndim - 1))
        mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
        if training:
            mean, variance = outputs.mean(axes), outputs.var(axes)
        outputs = (outputs - mean) / np.sqrt(variance + norm.epsilon)
        outputs = outputs * norm.gamma.numpy() + norm.beta.numpy()
    outputs = np.maximum(outputs, 0)
    return outputs * mask if layer.variant == "a" else outputs


@forms
@variants
@normalizations
def test_outputs_follow_the_formula(kind, variant, normalize):
    layer = kind.built(variant=variant, normalize=normalize, activation="relu")
    inputs = kind.data()
    for options in ({"scale": 2.5}, {"scale": None}, {"scale": 2.5, "training": True}):
        scale = options["scale"]
        expected = reference_outputs(kind, layer, inputs, **options)
        np.testing.assert_allclose(layer(inputs, **options), expected, rtol=1e-4, atol=1e-5)
        mask = layer.mask(options.pop("scale"))
        np.testing.assert_array_equal(
            layer(inputs, soft_mask=mask, **options), layer(inputs, scale=scale, **options)
        )
        assert expected.any()


@kinds
@variants
@normalizations
def test_it_stands_what_any_layer_must(kind, variant, normalize, tmp_path):
    check_layer(
        lambda **options: kind.make(
            variant=variant, normalize=normalize, activation="sigmoid", **options
        ),
        kind.data(),
        tmp_path,
        later=lambda layer: layer.finish_task().widen(units=6).finish_task().widen(units=9),
        recalls=[(1, kind.data()), (2, kind.data())],
        scale=2.0,
    )


# Masks.


@kinds
@normalizations
def test_a_masked_unit_is_exactly_zero_whatever_its_offset_and_activation(kind, normalize):
    layer = kind.built(variant="a", normalize=normalize, activation="sigmoid")
    layer.embedding.assign([-1.0, 0.5, -1e-3, 0.0])
    if normalize:
        layer.norm.beta.assign([3.0, -3.0, 3.0, 3.0])
    later = layer.finish_task()
    for outputs in (
        layer(kind.data()),
        layer(kind.data(), training=True),
        later(kind.data(), task=1),
    ):
        outputs = outputs.numpy()
        assert not bits(outputs[..., [0, 2]]).any()
        assert np.all(outputs[..., [1, 3]] > 0)


@kinds
def test_a_masked_weight_has_no_part_in_the_output(kind):
    layer = kind.built(variant="w")
    outputs = layer(kind.data()).numpy()
    masked_away = layer.embedding.numpy() < 0
    assert 0 < masked_away.sum() < masked_away.size
    layer.kernel.assign(np.where(masked_away, 123.0, layer.kernel.numpy()))
    np.testing.assert_array_equal(layer(kind.data()), outputs)


@variants
def test_masks_are_read_as_float32_under_mixed_precision(variant):
    # In float16 -1e-9 is 0, and a mask opens at 0.
    layer = MaskedDense(1, variant=variant, kernel_initializer="ones", dtype="mixed_float16")
    layer.build((1, 1))
    layer.embedding.assign(-1e-9 * np.ones(layer.embedding.shape))
    assert layer(np.ones((1, 1))) == 0
    assert layer.finish_task()(np.ones((1, 1)), task=1) == 0


@kinds
@variants
def test_the_mask_of_a_finished_task_is_binary_and_that_of_the_next_one_starts_open(kind, variant):
    layer = kind.built(variant=variant)
    later = layer.finish_task()
    expected = layer.embedding.numpy() >= 0
    np.testing.assert_array_equal(later.finished_mask(1), expected)
    np.testing.assert_array_equal(later.reserved, expected)
    assert not later.embedding.numpy().any()
    assert np.all(later.mask(1e4) == 0.5)
    # The layer that was asked is as it was.
    assert layer.finished == () and layer.embedding.numpy().any() and not np.any(layer.reserved)


@kinds
@variants
def test_reserved_are_all_masks_together_and_they_only_gain_ones(kind, variant):
    layer = kind.built(variant=variant)
    together = np.zeros(layer.embedding.shape, bool)
    for task, (inputs, units) in enumerate([(4, 6), (4, 6), (5, 9)], start=1):
        mask = layer.embedding.numpy() >= 0
        together |= mask
        layer = layer.finish_task()
        np.testing.assert_array_equal(layer.reserved, together)
        np.testing.assert_array_equal(layer.finished_mask(task), mask)
        layer = layer.widen(inputs=inputs, units=units)
        grown = [(0, new - old) for new, old in zip(layer.embedding.shape, mask.shape, strict=True)]
        together = np.pad(together, grown)
        np.testing.assert_array_equal(layer.reserved, together)
        fill(layer, seed=task)


@kinds
@variants
@normalizations
def test_a_finished_task_costs_one_bit_per_element_and_its_norm(kind, variant, normalize):
    layer = kind.built(variant=variant, normalize=normalize)
    size = math.prod(layer.kernel.shape) if variant == "w" else UNITS

    def stored(layer):
        arrays = list(layer.finished_masks) + [variable.numpy() for variable in layer.weights]
        arrays += [] if layer.norm is None else layer.norm.affines
        return sum(array.nbytes for array in arrays)

    costs = []
    for _ in range(3):
        later = layer.finish_task()
        costs.append(stored(later) - stored(layer))
        layer = later
    assert costs == [math.ceil(size / 8) + (2 * 4 * UNITS if normalize else 0)] * 3


# Eq. 4 and 5.


def reserve(layer, elements, value=1):
    layer.reserved.assign(np.where(elements, value, 0))


@kinds
def test_the_gate_stops_reserved_weights_alone(kind):
    layer = kind.built(variant="w")
    reserved = np.random.RandomState(0).randint(0, 2, layer.kernel.shape)
    reserve(layer, reserved)
    gradient = np.random.RandomState(1).normal(size=layer.kernel.shape).astype(np.float32)
    np.testing.assert_array_equal(layer.gate(gradient), gradient * (1 - reserved))
    # What the layer below has reserved is no matter here.
    np.testing.assert_array_equal(layer.gate(gradient, np.ones(INPUTS)), layer.gate(gradient))


@kinds
def test_the_gate_of_units_is_the_minimum_of_both_sides(kind):
    layer = kind.built(variant="a")
    above, below = np.array([1, 0, 1, 0]), np.array([1, 0, 1])
    reserve(layer, above)
    gradient = np.ones(layer.kernel.shape, np.float32)
    gate = np.minimum(kind.along(above, kind.out_axis), kind.along(below, kind.in_axis))
    np.testing.assert_array_equal(layer.gate(gradient, below), gradient * (1 - gate))
    np.testing.assert_array_equal(
        layer.gate(gradient, tf.constant(below, tf.uint8)), gradient * (1 - gate)
    )


@kinds
def test_the_gate_of_units_above_the_noise_is_the_output_side(kind):
    layer = kind.built(variant="a")
    above = np.array([1, 0, 1, 0])
    reserve(layer, above)
    gradient = np.ones(layer.kernel.shape, np.float32)
    np.testing.assert_array_equal(
        layer.gate(gradient), gradient * (1 - kind.along(above, kind.out_axis))
    )


@kinds
@variants
def test_the_gate_lets_no_nan_through(kind, variant):
    layer = kind.built(variant=variant)
    reserved = np.random.RandomState(0).randint(0, 2, layer.embedding.shape)
    reserve(layer, reserved)
    gate = reserved if variant == "w" else kind.along(reserved, kind.out_axis)
    gate = np.broadcast_to(gate, layer.kernel.shape).astype(bool)
    for wrong in (np.nan, np.inf):
        gated = layer.gate(tf.fill(layer.kernel.shape, np.float32(wrong))).numpy()
        assert not bits(gated[gate]).any()
        np.testing.assert_array_equal(gated[~gate], wrong)


def test_sparsity_by_hand():
    layer = DENSE.built(inputs=2, units=2, variant="w")
    layer.embedding.assign([[math.log(3), 5.0], [0.0, -math.log(3)]])  # masks .75, 1, .5, .25
    reserve(layer, [[0, 1], [0, 0]])
    np.testing.assert_allclose(layer.taken(layer.mask(1.0)), 0.75 + 0.5 + 0.25, rtol=1e-6)
    assert float(layer.taken(layer.mask())) == 2  # binary: 1, 1, 1, 0
    assert layer.free() == 3


@kinds
@variants
def test_sparsity_counts_free_elements_alone(kind, variant):
    layer = kind.built(variant=variant)
    reserved = np.random.RandomState(0).randint(0, 2, layer.embedding.shape)
    reserve(layer, reserved)
    taken = layer.taken(layer.mask(3.0))
    np.testing.assert_allclose(taken, np.sum(mask_of(layer, 3.0) * (1 - reserved)), rtol=1e-5)
    assert layer.free() == np.sum(1 - reserved)


# Memory and growth.


@kinds
@variants
@normalizations
def test_a_finished_task_is_recalled_as_it_was_at_its_end(kind, variant, normalize):
    layer = kind.built(variant=variant, normalize=normalize, activation="relu")
    recalled = layer.finish_task()(kind.data(), task=1)
    np.testing.assert_allclose(recalled, layer(kind.data()), rtol=1e-4, atol=1e-5)


@kinds
@variants
@normalizations
def test_finished_tasks_keep_their_bits_whatever_becomes_of_the_rest(kind, variant, normalize):
    layer = kind.built(variant=variant, normalize=normalize)
    memory = {}
    for task, (inputs, units) in enumerate([(3, 6), (5, 6), (6, 8)], start=1):
        layer = layer.finish_task()
        then = kind.data(layer.inputs)
        memory[task] = then, bits(layer(then, task=task))
        layer = layer.widen(inputs=inputs, units=units)
        _disturb(layer, seed=task)
        for finished, (then, expected) in memory.items():
            np.testing.assert_array_equal(bits(layer(then, task=finished)), expected)


def _disturb(layer, seed):
    """New numbers for everything that no finished task has reserved."""
    kernel, reserved = layer.kernel.numpy(), layer.reserved_weights().numpy()
    fill_value = np.random.RandomState(seed).normal(scale=100, size=kernel.shape)
    for variable in layer.trainable_variables:
        variable.assign(np.random.RandomState(seed).normal(size=variable.shape))
    layer.kernel.assign(np.where(reserved, kernel, fill_value))
    if layer.norm is not None:
        layer.norm.moving_mean.assign(fill_value.flat[: layer.units])


@kinds
@variants
def test_not_even_a_weight_that_is_no_number_spoils_the_memory(kind, variant):
    layer = kind.built(variant=variant, activation="relu").finish_task()
    expected = bits(layer(kind.data(), task=1))
    layer.kernel.assign(np.where(layer.reserved_weights(), layer.kernel, np.nan))
    np.testing.assert_array_equal(bits(layer(kind.data(), task=1)), expected)


@kinds
@variants
@normalizations
def test_a_wider_layer_holds_every_old_number(kind, variant, normalize):
    layer = kind.built(variant=variant, normalize=normalize).finish_task()
    fill(layer, seed=2)
    wider = layer.widen(inputs=5, units=7)
    old = [slice(size) for size in layer.kernel.shape]
    np.testing.assert_array_equal(bits(wider.kernel.numpy()[tuple(old)]), bits(layer.kernel))
    old = tuple(old) if variant == "w" else slice(UNITS)
    np.testing.assert_array_equal(bits(wider.embedding.numpy()[old]), bits(layer.embedding))
    np.testing.assert_array_equal(wider.reserved.numpy()[old], layer.reserved)
    np.testing.assert_array_equal(wider.finished_masks[0], layer.finished_masks[0])
    # New elements are free and half open.
    assert wider.reserved.numpy().sum() == layer.reserved.numpy().sum()
    assert np.abs(wider.embedding).sum() == pytest.approx(np.abs(layer.embedding).sum(), rel=1e-6)
    # What the old units did with the old inputs they still do.
    inputs = kind.data()
    padded = np.pad(inputs, [(0, 0)] * (inputs.ndim - 1) + [(0, 2)])
    np.testing.assert_allclose(
        wider(padded, scale=2.0)[..., :UNITS], layer(inputs, scale=2.0), rtol=1e-4, atol=1e-5
    )


@kinds
def test_new_weights_are_drawn_afresh_from_the_layers_seed(kind):
    def wider(seed):
        layer = kind.make(seed=seed)
        layer.build(kind.input_shape)
        return layer.kernel.numpy(), layer.widen(units=2 * UNITS).kernel.numpy()

    first, wide = wider(seed=1)
    new = np.take(wide, range(UNITS, 2 * UNITS), axis=kind.out_axis)
    assert not np.isin(new, first).any()
    assert 0.005 < new.std() < 0.05  # the reference's N(0, 0.02)
    np.testing.assert_array_equal(bits(wider(seed=1)[1]), bits(wide))
    assert not np.isin(wider(seed=2)[1], wide).any()


@pytest.mark.parametrize("task", [0, 3])
def test_a_task_that_is_not_finished_cannot_be_recalled(task):
    layer = DENSE.built().finish_task().finish_task()
    with pytest.raises(InputError, match=f"one of the 2 finished tasks.*not {task}"):
        layer(DENSE.data(), task=task)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MaskedDense(4, variant="x"), "variant must be 'w' .* or 'a' .*, not 'x'"),
        (lambda: MaskedDense(0), "units must be an integer of at least 1, got 0"),
        (lambda: MaskedDense(2.5), "units must be an integer of at least 1, got 2.5"),
        (lambda: MaskedDense(4).finish_task(), "no weights yet: call it or build it first"),
        (lambda: MaskedDense(4).widen(units=6), "no weights yet: call it or build it first"),
        (lambda: DENSE.built()(DENSE.data(), task="a"), "one of the 0 finished tasks, .* not 'a'"),
        (lambda: MaskedConv2D(4, 3, padding="full"), "padding must be .*, not 'full'"),
        (lambda: DENSE.built().widen(units=3), "only be widened: it has 3 inputs and 4 units"),
        (lambda: DENSE.built().widen(inputs=2), "asked for 2 and 4"),
        (lambda: DENSE.built().widen(units=5.5), "units must be an integer .*, got 5.5"),
        (lambda: DENSE.built().widen(units=0), "asked for 3 and 0"),
        (lambda: MaskedConv2DTranspose(4, 3, upsampling="box"), "upsampling 'box'.*zeros, nearest"),
        (lambda: MaskedConv2D(4, (3, 5)), r"kernel_size must be an integer .*, got \(3, 5\)"),
        (lambda: MaskedConv2D(4, 3, strides=0), "strides must be an integer of at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # of a binary mask's embedding
@pytest.mark.parametrize("variant", ["w", "a"])
def test_fit_moves_no_reserved_weight(variant):
    """In a model of a user's own, where nobody calls `gate`."""
    first = DENSE.built(variant=variant)
    fill(first)
    layer = first.finish_task().widen(units=7)
    inputs = keras.Input([3])
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    model.compile("adam", "mse")
    data = DENSE.data()
    before, kernel = layer(data, task=1).numpy(), layer.kernel.numpy()
    model.fit(data, np.ones([len(data), 1]), epochs=2, verbose=0)
    reserved = layer.reserved_weights().numpy()
    assert reserved.any()
    np.testing.assert_array_equal(bits(layer(data, task=1)), bits(before))
    moved = layer.kernel.numpy() != kernel
    assert not moved[reserved].any() and moved[~reserved].all()


def test_repeated_pixels_cost_no_more_than_a_transposed_convolution():
    """Their product is one, of a kernel one pixel larger: 16 products for 4 x 9 of them."""
    layer = _repeated(3, 2, "same").built(variant="w")
    layer = layer.finish_task()
    kernel = np.where(layer.finished_mask(1), layer.kernel, 0)
    spread = layer.finished_layer(1).kernel.numpy()
    assert spread.shape == (4, 4, UNITS, INPUTS)
    shifted = [(slice(a, a + 3), slice(b, b + 3)) for a in (0, 1) for b in (0, 1)]
    expected = np.zeros(spread.shape)
    for place in shifted:
        expected[place] += kernel
    np.testing.assert_allclose(spread, expected, atol=1e-6)


@pytest.mark.parametrize("kernel_size, strides", [(2, 3), (3, 3), (4, 1)])
def test_one_pixel_is_transposed_as_keras_does(kernel_size, strides):
    layer = MaskedConv2DTranspose(5, kernel_size, strides=strides, padding="valid", variant="a")
    inputs = tf.random.stateless_normal([2, 1, 1, 3], seed=[0, 1])
    outputs = layer(inputs)
    its = keras.layers.Conv2DTranspose(5, kernel_size, strides, "valid", use_bias=False)
    its.build(inputs.shape)
    its.kernel.assign(layer.kernel)
    np.testing.assert_allclose(outputs, its(inputs), atol=1e-6)
    assert outputs.shape == layer.compute_output_shape(inputs.shape)


def test_what_keras_takes_for_a_square_and_an_initializer_is_taken():
    layer = MaskedConv2D(2, (3, 3), strides=[2, 2], kernel_initializer=_ones)
    assert layer(np.ones([1, 4, 4, 1], np.float32)).shape == (1, 2, 2, 2)
    np.testing.assert_array_equal(layer.kernel, np.ones([3, 3, 1, 2]))


def _ones(shape, dtype=None):
    return np.ones(shape, dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float64])
def test_a_finished_task_takes_numbers_of_any_type(dtype):
    layer = DENSE.built().finish_task()
    inputs = np.array([[3, 0, 7]])
    expected = layer(inputs.astype(np.float32), task=1)
    found = layer(inputs.astype(dtype), task=1)
    assert found.dtype == np.float32 and np.any(expected)
    np.testing.assert_array_equal(found, expected)
