"""What can be reached from an object, to show that images are not."""

import gc
import types

import numpy as np
import tensorflow as tf


def reachable_arrays(*roots):
    """Numbers in arrays, tensors and variables that lead from `roots` along Python references.

    Modules, classes and module globals are no roots: they hold what a test holds, not the object.
    """
    found, seen, waiting = [], set(), list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, types.ModuleType | type | types.FrameType):
            continue
        seen.add(id(item))
        if isinstance(item, dict) and "__builtins__" in item:
            continue
        holds_values = isinstance(item, np.ndarray | tf.Tensor | tf.Variable)
        if holds_values and not tf.is_symbolic_tensor(item):
            found.append(item)
        waiting.extend(gc.get_referents(item))
    return found


def reachable_images(*roots):
    """Arrays and tensors of images among them, whatever they show."""
    return [
        each
        for each in reachable_arrays(*roots)
        if not isinstance(each, tf.Variable) and len(each.shape) == 4
    ]


def images_within(images, *roots):
    """How many of the images uint8 [N, S, S, C] are in arrays of any shape, as levels or floats."""
    wanted = {image.tobytes() for image in images}
    found = set()
    for item in reachable_arrays(*roots):
        if item.dtype not in (np.uint8, np.float32) or not np.prod(item.shape):
            continue
        values = np.asarray(item)
        if values.size % images[0].size:
            continue
        rows = values.reshape(-1, images[0].size)
        if rows.dtype == np.float32:
            rows = np.rint(np.clip((np.nan_to_num(rows) + 1) * 127.5, 0, 255)).astype(np.uint8)
        found |= wanted & {row.tobytes() for row in rows}
    return len(found)
