"""The layout of an export's weights, by which each is held once however many tasks use it.

What a task needs is cut out of the generator: binary masks applied, units that no image of the task
depends on left out. Cut out, the tasks' kernels take more room the more tasks use a weight. So an
export holds each weight once, with one bit per task that says whether the task uses it. The first request
cuts out the kernels of all tasks, as far as `CUT_BYTES` go, for itself and those that follow; those
of further tasks are cut out whenever one of their images is asked for. The graph is the same for
any number of tasks.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from dgm_tf.layers import FinishedLayer, masks
from dgm_tf.networks import Generator
from dgm_tf.networks.drawing import FinishedGenerator, as_matrix

# Memory for kernels that are cut out, of as many tasks as it is enough for, from the first on.
CUT_BYTES = 256 * 2**20

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
        sizes = np.array([self._sizes(units) for units in used])  # [tasks, blocks + 1, 2]
        lengths = -(-sizes.prod(axis=2) // _ALIGNED) * _ALIGNED
        self._kept = int(np.sum(np.cumsum(lengths.sum(axis=1)) * 4 <= CUT_BYTES))
        starts = (np.cumsum(lengths) - lengths.reshape(-1)).reshape(lengths.shape)
        # Start in the cut kernels, inputs and columns of each matrix.
        places = np.concatenate([starts[..., None], sizes], axis=2)[: self._kept]
        root.places = tf.Variable(places.astype(np.int32), trainable=False)
        # Empty in the files; a variable, so that it stays after a request.
        root.cut = tf.Variable(np.zeros(0, np.float32), shape=[None], trainable=False)
        self._root = root

    def _sizes(self, units: Sequence[np.ndarray]) -> list[tuple[int, int]]:
        """Rows and columns of a task's kernels as matrices."""
        generator, widths = self._generator, [len(each) for each in units]
        taps = [block.kernel_size**2 for block in generator.blocks]
        *_, channels, _ = generator.head_shape(widths[-1])
        rows = [generator.latent_dim, *widths]
        columns = [*map(int, np.multiply(taps, widths)), taps[-1] * channels]
        return list(zip(rows, columns, strict=True))

    def cut(self) -> tf.Tensor:
        """The cut kernels of the first tasks, which the first call makes; see `matrices`.

        Calls at a time may each make them: they are the same.
        """

        def made() -> tf.Tensor:
            tasks = tf.TensorArray(tf.float32, self._kept, element_shape=[None], infer_shape=False)
            _, tasks = tf.while_loop(
                lambda task, _: task < self._kept,
                lambda task, tasks: (task + 1, tasks.write(task, self._cut_out(task))),
                [0, tasks],
                parallel_iterations=1,
            )
            return self._root.cut.assign(tasks.concat()).read_value()

        if not self._kept:
            return self._root.cut.read_value()
        empty = tf.equal(tf.size(self._root.cut), 0)
        return tf.cond(empty, made, self._root.cut.read_value)

    def _cut_out(self, task: tf.Tensor) -> tf.Tensor:
        parts = [tf.reshape(matrix, [-1]) for matrix in self._matrices(self.finished(task))]
        return tf.concat([tf.pad(part, [[0, -tf.size(part) % _ALIGNED]]) for part in parts], 0)

    def _matrices(self, finished: FinishedGenerator) -> list[tf.Tensor]:
        return [as_matrix(kernel) for kernel in (*(it.kernel for it in finished.blocks), finished.head)]

    def matrices(self, task: tf.Tensor, cut: tf.Tensor) -> FinishedGenerator:
        """The parameters of a task as `drawing.draw_group` takes them.

        Args:
            task: int32 scalar, from 0.
            cut: of `cut`.
        """

        def kept() -> list[tf.Tensor]:
            places = tf.unstack(self._root.places[task])
            places = [tf.unstack(place) for place in places]
            return [
                tf.reshape(cut[start : start + rows * columns], tf.stack([rows, columns]))
                for start, rows, columns in places
            ]

        def others() -> list[tf.Tensor]:
            return self._matrices(self.finished(task))

        if not self._kept:
            *kernels, head = others()
        elif self._kept == len(self._tasks):
            *kernels, head = kept()
        else:
            *kernels, head = tf.cond(task < self._kept, kept, others)
        layers = [
            FinishedLayer(kernel, block.affine(task), block.masks and block.masks(task))
            for kernel, block in zip(kernels, self._root.blocks, strict=True)
        ]
        return FinishedGenerator(tuple(layers), head)

    def finished(self, task: tf.Tensor) -> FinishedGenerator:
        """The parameters of a task as `drawing.draw` takes them.

        Args:
            task: int32 scalar, from 0.
        """
        blocks, inputs = [], None
        for block, used in zip(self._root.blocks, self._root.units, strict=True):
            units = used(task)
            kernel = tf.gather(block.kernel, units, axis=-2)
            kernel = kernel if inputs is None else tf.gather(kernel, inputs, axis=-1)
            mask = None
            if block.bits is not None:
                wanted = masks.unpacked(block.bits(task), tf.shape(kernel))
                kernel = tf.where(wanted, kernel, 0.0)
            if block.masks is not None:
                mask = block.masks(task)
            blocks.append(FinishedLayer(kernel, block.affine(task), mask))
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
