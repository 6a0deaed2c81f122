"""The layout of an export's weights, by which each is held once however many tasks use it.

What a task needs is cut out of the generator: binary masks applied, units that no image of the task
depends on left out. Cut out, the tasks' kernels take more room the more tasks use a weight. So an
export holds each weight once, with one bit per task that says whether the task uses it.

The first request cuts out the kernels of the first tasks, as many as fit into `CUT_BYTES`, for
itself and all that follow. Those of a later task are cut out in each request for its images. The
graph is the same for any number of tasks.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf.layers import FinishedLayer, masks
from dgm_tf.networks import Generator
from dgm_tf.networks.drawing import GROUP, FinishedGenerator, as_matrix, draw_group

# Memory for kernels that are cut out, of as many tasks as it is enough for, from the first on.
CUT_BYTES = 64 * 2**20

_ALIGNED = 16  # numbers: a part of the cut kernels that begins at a multiple is used in place


class SharedKernels:
    """The weights that finished tasks use: held once, cut out for one task inside a graph.

    Args:
        root: the module that is saved; the variables are attached to it.
        generator: with at least one finished task.
    """

    def __init__(self, root: tf.Module, generator: Generator):
        self._generator = generator
        self._tasks = range(1, len(generator.finished) + 1)
        used = [generator.used_units(task) for task in self._tasks]
        unions = [np.unique(np.concatenate(units)) for units in zip(*used, strict=True)]
        root.units = [
            _Rows([np.searchsorted(union, units).astype(np.int32) for units in own])
            for union, own in zip(unions, zip(*used, strict=True), strict=True)
        ]
        root.blocks = [
            self._block(layer, *pair)
            for layer, pair in enumerate(zip([None, *unions], unions, strict=False))
        ]
        heads = zip(generator.finished_heads, used, strict=True)
        root.head = _Rows([head[..., units[-1]] for head, units in heads], axis=-1)
        shapes = np.array([self._shapes(units) for units in used])  # [tasks, parts, 2]
        sizes = shapes.prod(axis=2, keepdims=True)
        lengths = -(-sizes // _ALIGNED) * _ALIGNED
        self._kept = int(np.sum(np.cumsum(lengths.sum(axis=(1, 2))) * 4 <= CUT_BYTES))
        starts = np.cumsum(lengths).reshape(lengths.shape) - lengths
        root.starts = tf.Variable(starts, trainable=False)
        root.shapes = tf.Variable(shapes, trainable=False)
        # Empty in the files; a variable, so that it stays after a request.
        root.cut = tf.Variable(np.zeros(0, np.float32), shape=[None], trainable=False)
        self._root = root

    def images(self, tasks: tf.Tensor, latent: tf.Tensor, image_shape: Sequence[int]) -> tf.Tensor:
        """Images float32 [groups, GROUP, S, S, C] by `drawing.draw_group`.

        Args:
            tasks: int32 [groups], from 0, ascending.
            latent: float32 [groups, GROUP, latent].
            image_shape: (S, S, C).
        """

        def of_groups(cut: tf.Tensor, first: tf.Tensor, end: tf.Tensor, start: Any) -> tf.Tensor:
            return tf.map_fn(
                lambda group: draw_group(group[0], self._taken(cut, group[1], start), image_shape),
                (latent[first:end], tasks[first:end]),
                fn_output_signature=tf.TensorSpec([GROUP, *image_shape]),
            )

        kept = tf.reduce_sum(tf.cast(tasks < self._kept, tf.int32))
        images = of_groups(self._cut(), 0, kept, 0)
        if self._kept == len(self._tasks):
            return images
        others, _, counts = tf.unique_with_counts(tasks[kept:])
        ends = kept + tf.cumsum(counts)
        made = tf.TensorArray(
            tf.float32, tf.size(others), element_shape=[None, *images.shape[1:]], infer_shape=False
        )

        def of_task(index: tf.Tensor, made: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            task, end = others[index], ends[index]
            own = of_groups(
                self._cut_out(task), end - counts[index], end, self._root.starts[task, 0, 0]
            )
            return index + 1, made.write(index, own)

        _, made = tf.while_loop(
            lambda index, _: index < tf.size(others), of_task, [0, made], parallel_iterations=1
        )
        return tf.concat([images, made.concat()], axis=0)

    def _cut(self) -> tf.Tensor:
        """What `_taken` takes for the first tasks, one behind the other; the first call makes it.

        Calls at a time may each make it: they make the same.
        """
        if not self._kept:
            return self._root.cut.read_value()

        def made() -> tf.Tensor:
            tasks = tf.TensorArray(tf.float32, self._kept, element_shape=[None], infer_shape=False)
            _, tasks = tf.while_loop(
                lambda task, _: task < self._kept,
                lambda task, tasks: (task + 1, tasks.write(task, self._cut_out(task))),
                [0, tasks],
                parallel_iterations=1,
            )
            return self._root.cut.assign(tasks.concat()).read_value()

        empty = tf.equal(tf.size(self._root.cut), 0)
        return tf.cond(empty, made, self._root.cut.read_value)

    def _cut_out(self, task: tf.Tensor) -> tf.Tensor:
        """A task's part of `_cut`."""
        parts = [tf.reshape(part, [-1]) for part in self._parts(self.finished(task))]
        return tf.concat([tf.pad(part, [[0, -tf.size(part) % _ALIGNED]]) for part in parts], 0)

    def _taken(self, cut: tf.Tensor, task: tf.Tensor, start: Any) -> FinishedGenerator:
        """The parameters of a task as `drawing.draw_group` takes them.

        Args:
            cut: of `_cut` or `_cut_out`.
            task: int32 scalar, from 0.
            start: place of the first number of `cut` among those of all tasks.
        """
        shapes = tf.gather(self._root.shapes, task)
        places = (
            tf.gather(self._root.starts, task) - start,
            tf.reduce_prod(shapes, 1, keepdims=True),
            shapes,
        )
        head, *others = [
            tf.reshape(tf.slice(cut, first, size), shape)
            for first, size, shape in zip(*map(tf.unstack, places), strict=True)
        ]
        layers = [
            FinishedLayer(kernel, affine, None if block.masks is None else block.masks(task))
            for kernel, affine, block in zip(
                others[::2], others[1::2], self._root.blocks, strict=True
            )
        ]
        return FinishedGenerator(tuple(layers), head)

    def _parts(self, finished: FinishedGenerator) -> list[tf.Tensor]:
        """Output layer, then kernel and normalisation of each block: matrices all of them."""
        pairs = [(as_matrix(layer.kernel), layer.affine) for layer in finished.blocks]
        return [as_matrix(finished.head), *itertools.chain(*pairs)]

    def _shapes(self, units: Sequence[np.ndarray]) -> list[tuple[int, int]]:
        """Those of `_parts`."""
        generator, widths = self._generator, [len(each) for each in units]
        *sides, channels, _ = generator.head_shape(widths[-1])
        shapes = [(widths[-1], int(np.prod(sides)) * channels)]
        for block, inputs, width in zip(
            generator.blocks, [generator.latent_dim, *widths], widths, strict=False
        ):
            shapes += [(inputs, block.product_side**2 * width), (2, width)]
        return shapes

    def finished(self, task: tf.Tensor) -> FinishedGenerator:
        """The parameters of a task as `drawing.draw` takes them.

        Args:
            task: int32 scalar, from 0.
        """
        blocks, inputs = [], None
        for block, used, layer in zip(
            self._root.blocks, self._root.units, self._generator.blocks, strict=True
        ):
            units = used(task)
            kernel = tf.gather(block.kernel, units, axis=-2)
            kernel = kernel if inputs is None else tf.gather(kernel, inputs, axis=-1)
            mask = None
            if block.bits is not None:
                wanted = masks.unpacked(block.bits(task), tf.shape(kernel))
                kernel = tf.where(wanted, kernel, 0.0)
            if block.masks is not None:
                mask = block.masks(task)
            blocks.append(FinishedLayer(layer.spread(kernel), block.affine(task), mask))
            inputs = units
        return FinishedGenerator(tuple(blocks), self._root.head(task))

    def _block(self, layer: int, inputs: np.ndarray | None, units: np.ndarray) -> "_Block":
        block = self._generator.blocks[layer]
        kernel = block.kernel.numpy()[..., units, :]
        kernel = kernel if inputs is None else kernel[..., inputs]
        wanted = np.zeros(kernel.shape, bool)
        bits, alive, affines = [], [], []
        for task in self._tasks:
            used = self._generator.used_units(task)
            own_units = used[layer]
            own_inputs = np.arange(self._generator.latent_dim) if layer == 0 else used[layer - 1]
            mask = block.finished_mask(task)
            place = np.ix_(
                *map(range, kernel.shape[:2]),
                np.searchsorted(units, own_units),
                own_inputs if inputs is None else np.searchsorted(inputs, own_inputs),
            )
            affines.append(block.norm.affine_of(task)[:, own_units])
            if block.variant == "a":
                alive.append(mask[own_units])
                wanted[place] = True
            else:
                mask = mask[:, :, own_units][..., own_inputs]
                bits.append(masks.pack_bits(mask))
                wanted[place] |= mask
        return _Block(np.where(wanted, kernel, np.float32(0)), affines, bits=bits, alive=alive)


class _Block(tf.Module):
    """One block of all tasks."""

    def __init__(
        self,
        kernel: np.ndarray,
        affines: Sequence[np.ndarray],
        *,
        bits: Sequence[np.ndarray],
        alive: Sequence[np.ndarray],
    ):
        super().__init__()
        self.kernel = tf.Variable(kernel, trainable=False)
        self.affine = _Rows(affines, axis=-1)
        self.bits = _Rows(bits) if bits else None
        self.masks = _Rows(alive) if alive else None


class _Rows(tf.Module):
    """Arrays of all tasks, one behind the other along an axis."""

    def __init__(self, arrays: Sequence[np.ndarray], *, axis: int = 0):
        super().__init__()
        self._axis = axis % arrays[0].ndim
        self.values = tf.Variable(np.concatenate(arrays, axis=axis), trainable=False)
        ends = np.cumsum([array.shape[axis] for array in arrays])
        self.ends = tf.Variable(np.concatenate([[0], ends]).astype(np.int64), trainable=False)

    def __call__(self, task: tf.Tensor) -> tf.Tensor:
        first, end = self.ends[task], self.ends[task + 1]
        whole = (slice(None),) * self._axis
        return self.values[(*whole, slice(first, end))]
