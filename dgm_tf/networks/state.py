"""The variables of a network as named arrays, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from dgm_tf.errors import InputError


def network_arrays(network: keras.Model) -> dict[str, np.ndarray]:
    """Returns every variable of a network by its path."""
    return {variable.path: convert_to_numpy(variable) for variable in network.weights}


def restored_network(kind: type, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    """Returns the network of a saved state, built only if its arrays came with it.

    Args:
        kind: the network's class.
        config: what its `get_config` gave.
        arrays: what `network_arrays` gave, maybe among others.

    Raises:
        InputError: an array is missing, or sizes or types do not fit.
    """
    network = kind.from_config(config)
    numbers = max((array.size for array in arrays.values()), default=0)
    if network.largest_kernel() > numbers:
        raise InputError(
            f"the saved state describes a {network.name} with a kernel of "
            f"{network.largest_kernel()} numbers; its largest array has {numbers}"
        )
    network.build()
    assign_arrays(network.weights, arrays)
    return network


def assign_arrays(variables: Sequence[keras.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Gives variables the values of the arrays that are called as they are."""
    for variable in variables:
        variable.assign(array_of(arrays, variable.path, variable.shape, np.dtype(variable.dtype)))


def array_of(
    arrays: Mapping[str, np.ndarray],
    name: str,
    shape: Sequence[int],
    dtype: Any = np.float32,
) -> np.ndarray:
    """Returns an array of a saved state.

    Raises:
        InputError: there is none, or one of another form.
    """
    value, wanted = arrays.get(name), (tuple(shape), np.dtype(dtype))
    if value is None or (value.shape, value.dtype) != wanted:
        found = "none" if value is None else f"one of shape {value.shape} and {value.dtype}"
        raise InputError(
            f"the saved state must hold an array {name} of shape {wanted[0]} and {wanted[1]}; it "
            f"holds {found}"
        )
    return value
