"""The number of units that a layer gets after a task, so that each task starts with equal capacity.

The paper adds `ceil(delta / (p k^2))` units for delta newly reserved weights. Here a layer is
filled up to the free weights it began with: the same where nothing was left over, fewer units where
an earlier task's rounding, or the layer below with its new outputs, has left more free than that.
"""

import math


def widened_by_weights(
    *,
    units: int,
    taps: int,
    reserved: int,
    initial_free: int,
    new_inputs: int,
) -> int:
    """Units of one layer of variant w after a task.

    The widened input of the layer (the layer below grew first) has already brought free weights;
    only what is still missing is added.

    Args:
        units: units before growth (n).
        taps: spatial size of the kernel (k^2; 1 for a dense layer).
        reserved: weights reserved by all finished tasks.
        initial_free: free weights before the first task.
        new_inputs: inputs after the layer below has grown (p).

    Returns:
        The new number of units, at least `units`.
    """
    missing = initial_free - (new_inputs * units * taps - reserved)
    return units + max(0, math.ceil(missing / (new_inputs * taps)))
