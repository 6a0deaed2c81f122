"""What all phases share: their optimizer and the means that they log."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dgm_tf.learners.phase import RunningMeans, new_adam


@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.5, 0.999), (0.0, 0.9), (0.9, 0.99)])
def test_adam_moves_variables_as_keras_does(beta_1, beta_2):
    random = np.random.RandomState(0)
    values = [random.normal(size=shape).astype(np.float32) for shape in ((3, 4), (5,))]
    gradients = [[random.normal(size=v.shape).astype(np.float32) for v in values] for _ in range(6)]
    found = []
    for make in (
        lambda variables: new_adam(0.01, variables, beta_1=beta_1, beta_2=beta_2),
        lambda _: keras.optimizers.Adam(0.01, beta_1=beta_1, beta_2=beta_2, epsilon=1e-8),
    ):
        variables = [keras.Variable(value) for value in values]
        optimizer = make(variables)
        for given in gradients:
            optimizer.apply([tf.constant(gradient) for gradient in given], variables)
        assert int(optimizer.iterations) == len(gradients)
        found.append([variable.numpy() for variable in variables])
    for mine, its, before in zip(*found, values, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)
        assert np.abs(mine - before).min() > 1e-4


def test_adam_leaves_what_has_no_gradient_to_the_bit():
    # 2e-38 is a normal number still: TensorFlow's threads make smaller ones 0, by any Adam.
    value = np.float32([-0.0, 0.0, 2e-38, -3.7, np.float32(1) / 3])
    variable = keras.Variable(value)
    optimizer = new_adam(0.1, [variable])
    for _ in range(50):
        optimizer.apply([tf.zeros([5])], [variable])
    assert variable.numpy().tobytes() == value.tobytes()


def test_running_means_count_each_name_by_itself():
    means = RunningMeans(["all", "some", "none"])
    assert means.by_name() == {"all": 0.0, "some": 0.0, "none": 0.0}
    for step in range(4):
        some = {"some": 10.0 * step} if step % 2 else {}
        means.update_state({"all": tf.constant(float(step)), **some})
    assert means.by_name() == {"all": 1.5, "some": 20.0, "none": 0.0}
    means.reset_state()
    means.update_state({"all": 3.0})
    assert means.by_name() == {"all": 3.0, "some": 0.0, "none": 0.0}
