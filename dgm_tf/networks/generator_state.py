"""A generator as named arrays, and back.

`finished/<task>/...` holds what a finished task has reserved for good: the bits of its masks, its
normalisation, its output layer, and the weights that no earlier task had reserved. These arrays
never change, so that a folder of checkpoints has to hold them once. The other names are those of
variables. Of a kernel only the free weights are in it, and the embeddings of a task that has not
begun are left out, so that this part is as large after the thousandth task as after the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf.errors import InputError, MemoryChanged
from dgm_tf.layers import MaskedLayer
from dgm_tf.networks.generator import Generator
from dgm_tf.networks.state import array_of, assign_arrays


def generator_arrays(generator: Generator) -> dict[str, np.ndarray]:
    """Returns every number that later tasks and images depend on, by name."""
    arrays = {variable.path: to_numpy(variable) for variable in generator.weights}
    fixed = fixed_weights(generator.blocks, [to_numpy(it.reserved) for it in generator.blocks])
    for block, rows in zip(generator.blocks, fixed, strict=True):
        arrays[block.kernel.path] = arrays[block.kernel.path][~rows]
        del arrays[block.reserved.path]  # which the masks say
        if not arrays[block.embedding.path].any():
            del arrays[block.embedding.path]
    kept = generator.finished_arrays
    if len(kept) < len(generator.finished):
        kernels = [to_numpy(block.kernel) for block in generator.blocks]
        for task, new in enumerate(_Walk(generator).tasks(), start=1):
            kept[task] = _finished_arrays(generator, task, new, kernels)
    for task in range(1, len(generator.finished) + 1):
        arrays |= kept[task]
    return arrays


def keep_finished(generator: Generator, before: Generator) -> None:
    """Takes down what a task has reserved, now that it is finished.

    Args:
        generator: with the task finished, and not widened yet.
        before: as it was while the task was learnt.
    """
    old, now = (
        fixed_weights(each.blocks, [to_numpy(block.reserved) for block in each.blocks])
        for each in (before, generator)
    )
    task = len(generator.finished)
    new = [_New(_corner(b), b & ~a) for a, b in zip(old, now, strict=True)]
    kernels = [to_numpy(block.kernel) for block in generator.blocks]
    generator.finished_arrays[task] = _finished_arrays(generator, task, new, kernels)


def check_fixed(generator: Generator, before: Generator) -> None:
    """Proves that training has moved no weight that finished tasks have reserved.

    Args:
        generator: after training, as wide as before.
        before: as it was.

    Raises:
        MemoryChanged: it has.
    """
    reserved = [to_numpy(block.reserved) for block in before.blocks]
    fixed = fixed_weights(before.blocks, reserved)
    for new, old, rows in zip(generator.blocks, before.blocks, fixed, strict=True):
        now, then = (to_numpy(each.kernel)[rows].view(np.uint32) for each in (new, old))
        if moved := np.count_nonzero(now != then):
            raise MemoryChanged(
                f"{moved} of {now.size} reserved weights of {new.name} have moved in training; the "
                "task is not kept"
            )


def restored_generator(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Generator:
    """Returns the generator of `get_config` and `generator_arrays`.

    Raises:
        InputError: an array is missing, or sizes or types do not fit.
    """
    generator = Generator.from_config(config)
    # Before room is made for anything, its arrays must be there.
    _check_sizes(generator, arrays)
    _read_finished(generator, arrays)
    generator.build()
    _read_norms(generator, arrays)
    kernels = [np.zeros(block.kernel.shape, np.float32) for block in generator.blocks]
    walk = _Walk(generator)
    for task, new in enumerate(walk.tasks(), start=1):
        for block, kernel, (corner, where) in zip(generator.blocks, kernels, new, strict=True):
            name = _name(task, block, "kernel")
            kernel[corner][where] = array_of(arrays, name, [np.count_nonzero(where)])
        own = _finished_arrays(generator, task, new, kernels)
        generator.finished_arrays[task] = {name: arrays[name] for name in own}
    for block, kernel, rows, union in zip(
        generator.blocks, kernels, walk.fixed, walk.unions, strict=True
    ):
        kernel[~rows] = array_of(arrays, block.kernel.path, [np.count_nonzero(~rows)])
        block.kernel.assign(kernel)
        block.reserved.assign(union)
    done = {path for it in generator.blocks for path in (it.kernel.path, it.reserved.path)}
    done |= {it.embedding.path for it in generator.blocks} - set(arrays)
    assign_arrays([each for each in generator.weights if each.path not in done], arrays)
    return generator


def fixed_weights(
    blocks: Sequence[MaskedLayer], reserved: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Which weights the gate holds, bool of each kernel's shape.

    Args:
        blocks: of a generator, in order.
        reserved: what tasks have reserved of each block, of its masks' shape, or the leading part.
    """
    fixed, below = [], None
    for block, own in zip(blocks, reserved, strict=True):
        fixed.append(block.reserved_weights(below, reserved=own).numpy())
        below = own
    return fixed


class _New(NamedTuple):
    """The weights of a block that a task was the first to reserve."""

    corner: tuple[slice, ...]  # of the kernel: the widths at the end of the task
    where: np.ndarray  # bool, of the corner's shape


class _Walk:
    """A way from task to task, which unpacks each mask once.

    Attributes:
        unions: what the tasks so far have reserved, bool of each block's present masks.
        fixed: the weights that the gate holds for them, bool of each present kernel.
    """

    def __init__(self, generator: Generator):
        self._generator = generator
        self.unions = [np.zeros(block.embedding.shape, bool) for block in generator.blocks]
        self.fixed = [np.zeros(block.kernel.shape, bool) for block in generator.blocks]

    def tasks(self) -> Iterator[list[_New]]:
        """Yields, per finished task and block, what the task was the first to reserve."""
        blocks = self._generator.blocks
        for task in range(1, len(self._generator.finished) + 1):
            parts = []
            for block, union in zip(blocks, self.unions, strict=True):
                mask = block.finished_mask(task)
                part = union[_corner(mask)]
                part |= mask
                parts.append(part)
            found = []
            for now, before in zip(fixed_weights(blocks, parts), self.fixed, strict=True):
                part = before[_corner(now)]
                found.append(_New(_corner(now), now & ~part))
                part |= now
            yield found


def _corner(array: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(size) for size in array.shape)


def _name(task: int, block: MaskedLayer | None, part: str) -> str:
    owner = "" if block is None else f"{block.name}/"
    return f"finished/{task:05d}/{owner}{part}"


def _finished_arrays(
    generator: Generator, task: int, new: Sequence[_New], kernels: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    arrays = {_name(task, None, "head"): generator.finished_heads[task - 1]}
    for block, kernel, (corner, where) in zip(generator.blocks, kernels, new, strict=True):
        arrays[_name(task, block, "mask")] = block.finished_masks[task - 1]
        arrays[_name(task, block, "affine")] = block.norm.affine_of(task)
        arrays[_name(task, block, "kernel")] = kernel[corner][where]
    return arrays


def _check_sizes(generator: Generator, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses a configuration of more weights than the arrays have."""
    tasks = range(1, len(generator.finished) + 1)
    for layer, block in enumerate(generator.blocks):
        names = [f"{generator.name}/{block.name}/kernel"]
        names += [_name(task, block, "kernel") for task in tasks]
        found = sum(arrays[name].size for name in names if name in arrays)
        if found != (wanted := generator.kernel_size(layer, generator.widths)):
            raise InputError(
                f"the saved state describes a {generator.name} with {wanted} weights in "
                f"{block.name}; its arrays have {found}"
            )
    head = generator.head_shape(generator.widths[-1])
    array_of(arrays, f"{generator.name}/{generator.head.name}/kernel", head)


def _read_finished(generator: Generator, arrays: Mapping[str, np.ndarray]) -> None:
    """Takes over the finished tasks' masks and output layers."""
    for block in generator.blocks:
        block.finished_masks = tuple(
            array_of(arrays, _name(task, block, "mask"), [size], np.uint8)
            for task, size in enumerate(block.mask_sizes(), start=1)
        )
    generator.finished_heads = tuple(
        array_of(arrays, _name(task, None, "head"), generator.head_shape(row[-1]))
        for task, row in enumerate(generator.finished_widths, start=1)
    )


def _read_norms(generator: Generator, arrays: Mapping[str, np.ndarray]) -> None:
    """Takes over the finished tasks' normalisation, of layers that are built."""
    for block in generator.blocks:
        block.norm.affines = tuple(
            array_of(arrays, _name(task, block, "affine"), zeros.shape)
            for task, zeros in enumerate(block.norm.affines, start=1)
        )
