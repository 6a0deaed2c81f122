"""The audit of a growing, masked generator from one finished task to a later one.

All is computed in NumPy from the kernels and the tasks' mask bits, not from the generator's own
record of what is reserved.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from dgm_tf.networks import Generator
from dgm_tf.networks.generator_state import fixed_weights


@dataclasses.dataclass(frozen=True)
class GeneratorFindings:
    """Findings about one generator.

    Attributes:
        gated: numbers that the generator before had reserved; None without one before.
        moved: those of them that have other bits now.
        reserved: weights (w) or units (a) that the finished tasks have reserved.
        free: the scarcest block's free capacity over that before task 1.
        faults: a line each.
    """

    gated: int | None
    moved: int
    reserved: int
    free: float
    faults: tuple[str, ...]


def inspect(
    now: Generator, before: Generator | None, first_widths: Sequence[int]
) -> GeneratorFindings:
    """Checks the masks, the free capacity and the reserved weights of a generator.

    Args:
        now: with a finished task.
        before: the same generator after an earlier task; None where there is none.
        first_widths: units of its blocks before task 1.
    """
    faults = list(_mask_faults(now))
    gated, moved = None, 0
    if before is not None:
        faults += _changed_masks(now, before)
        gated, moved, lines = _gated(now, before)
        faults += lines
    reserved, fractions = 0, []
    for layer, block in enumerate(now.blocks):
        mask = block.union_of_masks()
        initial = now.capacity(layer, first_widths)
        free = mask.size - int(mask.sum())
        reserved += int(mask.sum())
        fractions.append(free / initial)
        if free < initial:
            faults.append(f"{block.name} has {free} free, it had {initial} before task 1")
    return GeneratorFindings(gated, moved, reserved, min(fractions), tuple(faults))


def _mask_faults(generator: Generator) -> Iterator[str]:
    for block in generator.blocks:
        if not np.array_equal(block.reserved.numpy(), block.union_of_masks()):
            yield f"what {block.name} has reserved is not the union of its tasks' masks"


def _changed_masks(now: Generator, before: Generator) -> Iterator[str]:
    """Masks of finished tasks that differ; if none does, accumulated masks only gained ones."""
    for new, old in zip(now.blocks, before.blocks, strict=True):
        pairs = zip(old.finished_masks, new.finished_masks, strict=False)
        for task, (former, mask) in enumerate(pairs, start=1):
            if not np.array_equal(former, mask):
                yield f"{new.name} has another mask of task {task} than before"


def _gated(now: Generator, before: Generator) -> tuple[int, int, list[str]]:
    gated, moved, faults = 0, 0, []
    # The later generator has more parts, those of its newer tasks, at the end.
    for (name, old, fixed), (_, new, _) in zip(_parts(before), _parts(now), strict=False):
        differ = old.view(np.uint32) != _leading(new, old.shape).view(np.uint32)
        count = int((differ & fixed).sum())
        gated, moved = gated + int(fixed.sum()), moved + count
        if count:
            faults.append(f"{count} of {int(fixed.sum())} gated numbers of {name} have moved")
    return gated, moved, faults


def _parts(generator: Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """All that finished tasks are generated from: name, float32 numbers, mask of the fixed ones."""
    unions = [block.union_of_masks() for block in generator.blocks]
    fixed = fixed_weights(generator.blocks, unions)
    for block, rows in zip(generator.blocks, fixed, strict=True):
        yield f"{block.name}'s kernel", block.kernel.numpy(), rows
    for task in range(1, len(generator.finished) + 1):
        own = [(f"the output layer of task {task}", generator.finished_heads[task - 1])]
        own += [
            (f"{block.name}'s normalisation of task {task}", block.norm.affine_of(task))
            for block in generator.blocks
        ]
        for name, numbers in own:
            yield name, numbers, np.ones(numbers.shape, bool)


def _leading(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The leading part of an array that has grown; zeros where it is not as wide."""
    part = np.zeros(shape, array.dtype)
    corner = tuple(slice(min(sizes)) for sizes in zip(array.shape, shape, strict=True))
    part[corner] = array[corner]
    return part
