"""Arrays as bytes in the format of safetensors: no pickle, and sizes that are checked.

A reader takes no more memory than a small multiple of what is there to be read.
"""

from collections.abc import Mapping

import numpy as np
import safetensors.numpy

_KINDS = "biuf"  # bool, integers, floats


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of named arrays of any shape; the same arrays give the same bytes.

    Raises:
        TypeError: an array holds other than plain numbers.
    """
    # In C order: safetensors would write the memory of any other as it lies.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    if unfit := [name for name, array in arrays.items() if array.dtype.kind not in _KINDS]:
        raise TypeError(f"only plain numbers can be saved; there are others in {', '.join(unfit)}")
    return safetensors.numpy.save(arrays)


def unpack(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of which `pack` made the bytes.

    Raises:
        ValueError: the bytes are not what `pack` makes.
    """
    try:
        return dict(safetensors.numpy.load(content))
    # Damaged bytes make safetensors and NumPy raise nearly anything.
    except Exception as error:
        raise ValueError(f"it holds no arrays: {type(error).__name__}: {error}") from error
