"""The variables of a network as named arrays, and back."""

from collections.abc import Mapping
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
    for variable in network.weights:
        value = arrays.get(variable.path)
        wanted = tuple(variable.shape), np.dtype(variable.dtype)
        if value is None or (value.shape, value.dtype) != wanted:
            found = "none" if value is None else f"one of shape {value.shape} and {value.dtype}"
            raise InputError(
                f"the saved state must hold an array {variable.path} of shape "
                f"{wanted[0]} and {wanted[1]}; it holds {found}"
            )
        variable.assign(value)
    return network
