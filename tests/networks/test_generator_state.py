"""A generator as arrays: what a task leaves is written once, and the rest does not grow."""

import numpy as np
import pytest

from dgm_tf.errors import InputError, MemoryChanged
from dgm_tf.networks.generator_state import (
    check_fixed,
    generator_arrays,
    keep_finished,
    restored_generator,
)
from tests.layers.layer_check import bits
from tests.networks.tiny_generator import FORMS, latents, made, train

forms = pytest.mark.parametrize("form", FORMS)


def history(form, tasks=4):
    """Yields the generator after each task, grown, as a learner makes it."""
    generator = made(form, name="generator")
    for seed in range(1, tasks + 1):
        train(generator, seed)
        finished = generator.finish_task(1 + seed % 2)
        keep_finished(finished, generator)
        generator = finished.widen(finished.grown_widths())
        yield generator


def split(arrays):
    kept = {name: array for name, array in arrays.items() if name.startswith("finished/")}
    return kept, {name: array for name, array in arrays.items() if name not in kept}


@forms
def test_what_a_finished_task_leaves_never_changes(form):
    earlier = {}
    for task, generator in enumerate(history(form), start=1):
        kept, _ = split(generator_arrays(generator))
        assert len(kept) == 10 * task  # mask, normalisation and weights of 3 blocks, output layer
        for name, array in earlier.items():
            np.testing.assert_array_equal(kept[name].view(np.uint8), array.view(np.uint8))
        earlier = {name: array.copy() for name, array in kept.items()}


@forms
def test_every_weight_is_written_once(form):
    for generator in history(form):
        arrays = generator_arrays(generator)
        for block in generator.blocks:
            parts = [
                array for name, array in arrays.items() if name.endswith(f"{block.name}/kernel")
            ]
            assert sum(part.size for part in parts) == block.kernel.numpy().size
            together = np.sort(np.concatenate(parts))
            np.testing.assert_array_equal(together, np.sort(block.kernel.numpy(), axis=None))


def test_the_rest_does_not_grow():
    first = made()
    capacity = sum(first.capacity(layer, first.widths) for layer in range(3))
    for generator in history("w", tasks=8):
        _, rest = split(generator_arrays(generator))
        assert not [name for name in rest if name.endswith("embedding")]
        blocks = [array for name, array in rest.items() if "block" in name and "kernel" in name]
        # A block gets whole units, and its input grows with the block below.
        assert capacity <= sum(array.size for array in blocks) < 2.5 * capacity
        assert sum(block.kernel.numpy().size for block in generator.blocks) > capacity


@forms
@pytest.mark.parametrize("begun", [False, True])
def test_it_comes_back_with_every_bit(form, begun):
    *_, generator = history(form)
    if begun:
        train(generator, seed=9)
    arrays = {name: array.copy() for name, array in generator_arrays(generator).items()}
    back = restored_generator(generator.get_config(), arrays)
    for mine, its in zip(generator.weights, back.weights, strict=True):
        assert mine.path == its.path
        np.testing.assert_array_equal(mine.numpy().view(np.uint8), its.numpy().view(np.uint8))
    for task in range(1, 5):
        for one, other in zip(
            generator.finished_generator(task).blocks, back.finished_generator(task).blocks,
            strict=True,
        ):  # fmt: skip
            np.testing.assert_array_equal(bits(one.kernel), bits(other.kernel))
        np.testing.assert_array_equal(
            bits(generator.recall(latents(), task)), bits(back.recall(latents(), task))
        )
    again = generator_arrays(back)
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name].view(np.uint8), array.view(np.uint8))


@forms
def test_arrays_of_a_generator_whose_tasks_were_not_taken_down_are_the_same(form):
    *_, generator = history(form)
    expected = generator_arrays(generator)
    generator.finished_arrays.clear()
    found = generator_arrays(generator)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@forms
def test_an_array_that_is_missing_is_named(form):
    *_, generator = history(form, tasks=2)
    arrays = generator_arrays(generator)
    for name in arrays:
        if "kernel" in name and "head" not in name:
            continue  # of which the sum is told
        others = {other: array for other, array in arrays.items() if other != name}
        with pytest.raises(InputError, match=f"must hold an array {name} "):
            restored_generator(generator.get_config(), others)


@forms
def test_a_reserved_weight_that_training_has_moved_is_a_fault(form):
    *_, before = history(form, tasks=2)
    after = before.widen(before.widths)
    train(after, seed=7)
    check_fixed(after, before)
    block = after.blocks[1]
    kernel = block.kernel.numpy()
    fixed = np.argwhere(block.reserved_weights(after.blocks[0].reserved).numpy())
    kernel.view(np.uint32)[tuple(fixed[0])] ^= 1  # the last bit of one weight
    block.kernel.assign(kernel)
    with pytest.raises(MemoryChanged, match=rf"1 of {len(fixed)} reserved weights of block_2"):
        check_fixed(after, before)
