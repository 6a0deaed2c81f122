"""The layers' products in plain NumPy, one place after another; channels last."""

import numpy as np


def dense(inputs, kernel):
    outputs = np.zeros((*inputs.shape[:-1], kernel.shape[1]))
    for i, j in np.ndindex(*kernel.shape):
        outputs[..., j] += inputs[..., i] * kernel[i, j]
    return outputs


def convolution(inputs, kernel, strides, padding):
    taps, size = kernel.shape[0], inputs.shape[1]
    if padding == "same":
        places = -(-size // strides)
        missing = max((places - 1) * strides + taps - size, 0)
        first = missing // 2
        inputs = np.pad(inputs, [(0, 0), *[(first, missing - first)] * 2, (0, 0)])
    else:
        places = (size - taps) // strides + 1
    outputs = np.zeros((len(inputs), places, places, kernel.shape[3]))
    for y, x in np.ndindex(places, places):
        top, left = y * strides, x * strides
        window = inputs[:, top : top + taps, left : left + taps]
        outputs[:, y, x] = np.einsum("bklp,klpn->bn", window, kernel)
    return outputs


def repeated_convolution(inputs, kernel, strides, padding):
    """On pixels that are repeated; kernels [k, k, units, inputs] as transposed ones have them."""
    inputs = inputs.repeat(strides, axis=1).repeat(strides, axis=2)
    if padding == "valid":  # of the transposed convolution: whatever the kernel reaches
        inputs = np.pad(inputs, [(0, 0), *[(kernel.shape[0] - 1,) * 2] * 2, (0, 0)])
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    return convolution(inputs, turned, strides=1, padding=padding)


def transposed_convolution(inputs, kernel, strides, padding):
    taps, size = kernel.shape[0], inputs.shape[1]
    full = (size - 1) * strides + taps
    outputs = np.zeros((len(inputs), full, full, kernel.shape[2]))
    for y, x in np.ndindex(size, size):
        top, left = y * strides, x * strides
        spread = np.einsum("bp,klnp->bkln", inputs[:, y, x], kernel)
        outputs[:, top : top + taps, left : left + taps] += spread
    if padding == "valid":
        return outputs
    first = (taps - strides) // 2
    return outputs[:, first : first + size * strides, first : first + size * strides]
