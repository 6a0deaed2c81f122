"""What any layer of this house must stand, in one call: the manner of Keras' `run_layer_test`."""

import inspect
import json

import keras
import numpy as np
import tensorflow as tf


def bits(values):
    """Float32 values as integers: equal only when every bit is, -0.0 and NaN included."""
    return np.asarray(values, np.float32).view(np.uint32)


def fill(layer, seed=0):
    """Gives every float weight of a built layer other numbers; those kept as uint8 stay.

    Embeddings begin below 0 and end above, so that each mask lets something through, not all.
    """
    random = np.random.RandomState(seed)
    for variable in layer.weights:
        if "float" not in variable.dtype:
            continue
        values = random.uniform(-1, 1, variable.shape)
        if variable.name == "embedding":
            values.flat[[0, -1]] = -0.5, 0.5
        if variable.name == "moving_variance":
            values = np.abs(values) + 0.1
        variable.assign(values)


def check_layer(make, inputs, tmp_path, *, later=lambda layer: layer, recalls=(), **learning):
    """Builds, calls, serialises, saves, loads and trains a layer.

    Args:
        make: **options -> a new layer.
        inputs: float32 array that the layer takes.
        tmp_path: folder for what is saved.
        later: layer -> the layer after finished tasks and growth, of the same inputs' form.
        recalls: pairs of a finished task of `later`'s layer, and inputs in its widths.
        **learning: arguments of the call in a training step.
    """
    layer = make()
    outputs = layer(inputs)
    _check_shapes(layer, inputs, outputs)
    check_config(layer)
    fill(layer)
    layer = later(layer)
    fill(layer, seed=1)
    _check_revival(layer, inputs)
    _check_saving(layer, inputs, recalls, tmp_path / "model.keras")
    _check_training(layer, inputs, learning)
    _check_mixed_precision(make, inputs, learning)


def _check_shapes(layer, inputs, outputs):
    assert layer.built
    assert outputs.dtype == tf.float32
    assert tuple(outputs.shape) == tuple(layer.compute_output_shape(inputs.shape))
    symbolic = layer(keras.Input(inputs.shape[1:]))
    assert symbolic.shape == (None, *outputs.shape[1:])


def check_config(layer):
    """`get_config` holds every argument of the constructor, and is what a new layer gives.

    Args:
        layer: a layer or a model.
    """
    config = layer.get_config()
    arguments = {
        name
        for kind in type(layer).__mro__
        if kind.__module__.startswith("dgm_tf.")
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    assert arguments - {"self"} <= set(config)
    assert type(layer).from_config(json.loads(json.dumps(config))).get_config() == config


def check_model(model, outputs, tmp_path):
    """Configuration, weights and kept arrays are all there is, and so is a network's Keras file.

    Args:
        model: a built network.
        outputs: model -> arrays whose bits must be the same.
        tmp_path: folder for what is saved.

    Returns:
        The network that was made again, of configuration and weights.
    """
    check_config(model)
    revived = type(model).from_config(model.get_config())
    revived.build()
    copy_numbers(model, revived)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for other in (revived, loaded):
        assert other.get_config() == model.get_config()
        for found, expected in zip(outputs(other), outputs(model), strict=True):
            np.testing.assert_array_equal(bits(found), bits(expected))
    return revived


def copy_numbers(source, target):
    """Gives a network or layer the variables of another, and what finished tasks have kept."""
    target.set_weights(source.get_weights())
    pairs = zip(source._flatten_layers(), target._flatten_layers(), strict=True)
    for one, other in pairs:
        if name := getattr(one, "kept", None):
            setattr(other, name, getattr(one, name))


def _check_revival(layer, inputs):
    """Configuration and weights are all there is to a layer."""
    revived = type(layer).from_config(layer.get_config())
    revived.build(inputs.shape)
    revived.set_weights(layer.get_weights())
    np.testing.assert_array_equal(bits(revived(inputs)), bits(layer(inputs)))


def _check_saving(layer, inputs, recalls, path):
    """Inside a model, saved and loaded with no help, every output keeps its bits."""
    entrance = keras.Input(inputs.shape[1:])
    keras.Model(entrance, layer(entrance)).save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(bits(loaded(inputs)), bits(layer(inputs)))
    for task, then in recalls:
        recalled = loaded.get_layer(layer.name)(then, task=task)
        np.testing.assert_array_equal(bits(recalled), bits(layer(then, task=task)))


def _check_training(layer, inputs, learning):
    """Each trainable weight gets a gradient, in a graph too, and a step moves the outputs."""
    optimizer = keras.optimizers.SGD(0.1)
    before = layer(inputs, **learning).numpy()

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(inputs, training=True, **learning) - 0.5))
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply(gradients, layer.trainable_variables)
        return gradients

    optimizer.build(layer.trainable_variables)
    for gradient, variable in zip(step(), layer.trainable_variables, strict=True):
        assert gradient.shape == variable.shape
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient != 0), variable.path
    assert np.any(layer(inputs, **learning).numpy() != before)


def _check_mixed_precision(make, inputs, learning):
    """Half-precision outputs near the float32 ones, from float32 weights."""
    exact, mixed = make(), make(dtype="mixed_bfloat16")
    for layer in (exact, mixed):
        layer.build(inputs.shape)
        fill(layer)
    outputs = mixed(inputs, training=True, **learning)
    assert outputs.dtype == tf.bfloat16
    assert {variable.dtype for variable in mixed.trainable_variables} == {"float32"}
    expected = exact(inputs, training=True, **learning)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.1)
    for one, other in zip(
        mixed.non_trainable_variables, exact.non_trainable_variables, strict=True
    ):
        np.testing.assert_allclose(one, other, atol=0.1)
