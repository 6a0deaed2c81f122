"""The layout of an export's weights, by which each is held once however many tasks use it.

What every task needs is cut out of the generator: binary masks applied, units that no image of the
task depends on left out. Cut out, the tasks' kernels take more room the more tasks share a weight.
So the files hold each weight once, with one bit per task that says whether the task uses it, and
the kernels are laid out as the model is loaded. The same image then costs the same whatever the
number of tasks.
"""

import uuid
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from dgm_tf.layers import FinishedLayer, masks
from dgm_tf.networks import Generator
from dgm_tf.networks.generator import FinishedGenerator


class SharedKernels:
    """The weights that finished tasks use: held once, laid out for each task on loading.

    Args:
        root: the module that is saved; what is held is attached to it.
        generator: with at least one finished task.
    """

    def __init__(self, root: tf.Module, generator: Generator):
        self._generator = generator
        self._tasks = range(1, len(generator.finished) + 1)
        self._used = [  # by task and block; the input vector is the first block's input
            [np.arange(generator.latent_dim), *generator.used_units(task)] for task in self._tasks
        ]
        self._finished = [generator.finished_generator(task) for task in self._tasks]
        self._kernels: list[list[tf.Variable]] = [[] for _ in self._tasks]
        root.shared, root.tasks, layouts = [], [], []
        for layer in range(len(generator.blocks)):
            shared, of_task = self._shared(layer)
            root.shared.append(shared)
            for kernels, layout in zip(self._kernels, of_task, strict=True):
                # Empty in the files, whatever its shape will be.
                kernels.append(tf.Variable(tf.zeros([0]), shape=tf.TensorShape(None)))
                layouts.append((kernels[-1], layout))
        for finished, kernels in zip(self._finished, self._kernels, strict=True):
            part = tf.Module()
            part.kernels = kernels
            part.affines = [tf.Variable(block.affine, trainable=False) for block in finished.blocks]
            part.head = tf.Variable(finished.head, trainable=False)
            root.tasks.append(part)
        root.layouts = [layout.bits for _, layout in layouts if layout.bits is not None]
        root.laid_out = _LaidOut(layouts)
        self._parts = root.tasks

    def finished(self, task: int) -> FinishedGenerator:
        """The parameters of a task as `Generator.draw` takes them."""
        finished, part = self._finished[task - 1], self._parts[task - 1]
        blocks = []
        for block, kernel, affine in zip(finished.blocks, part.kernels, part.affines, strict=True):
            mask = block.mask
            if mask is not None:
                # All but one that stands in for a layer without any are units that the task has.
                mask = None if mask.numpy().all() else tf.constant(mask.numpy())
            kernel = tf.ensure_shape(kernel.read_value(), block.kernel.shape)
            blocks.append(FinishedLayer(kernel, tf.convert_to_tensor(affine), mask))
        return FinishedGenerator(tuple(blocks), tf.convert_to_tensor(part.head))

    def _shared(self, layer: int) -> tuple[tf.Variable, list["_Layout"]]:
        """A block's weights that any task uses, and the layout of each task's kernel."""
        block = self._generator.blocks[layer]
        inputs, units = (self._union(layer), self._union(layer + 1))
        kernel = block.kernel.numpy()[..., units, :][..., inputs]
        wanted = np.zeros(kernel.shape, bool)
        parts = []
        for task in self._tasks:
            own_inputs = np.searchsorted(inputs, self._used[task - 1][layer]).astype(np.int32)
            own_units = np.searchsorted(units, self._used[task - 1][layer + 1]).astype(np.int32)
            mask = self._mask(layer, task)
            place = np.ix_(*(range(taps) for taps in kernel.shape[:2]), own_units, own_inputs)
            wanted[place] |= True if mask is None else mask
            parts.append((own_inputs, own_units, mask))
        shared = tf.Variable(np.where(wanted, kernel, np.float32(0)), trainable=False)
        return shared, [_Layout(shared, *part) for part in parts]

    def _union(self, index: int) -> np.ndarray:
        return np.unique(np.concatenate([used[index] for used in self._used]))

    def _mask(self, layer: int, task: int) -> np.ndarray | None:
        """The weights of its cut kernel that a task uses; None where masks lie on units."""
        block = self._generator.blocks[layer]
        if block.variant == "a":
            return None
        inputs, units = self._used[task - 1][layer : layer + 2]
        return block.finished_mask(task).numpy()[:, :, units][..., inputs] > 0


class _Layout:
    """The way from the weights that all tasks share to one task's kernel of one block."""

    def __init__(
        self, shared: tf.Variable, inputs: np.ndarray, units: np.ndarray, mask: np.ndarray | None
    ):
        self._shared, self._inputs, self._units = shared, inputs, units
        self._mask_shape = None if mask is None else mask.shape
        packed = None if mask is None else masks.pack_bits(mask)
        self.bits = None if mask is None else tf.Variable(packed, trainable=False)

    def __call__(self) -> tf.Tensor:
        kernel = tf.gather(tf.gather(self._shared, self._units, axis=-2), self._inputs, axis=-1)
        if self.bits is None:
            return kernel
        mask = masks.unpack_bits(self.bits, self._mask_shape) > 0
        return tf.where(mask, kernel, tf.zeros_like(kernel))


class _LaidOut(tf.saved_model.experimental.TrackableResource):
    """Runs when a SavedModel is loaded, by whatever loader, once its variables have their values.

    The resource itself is never made; it is the initializer that counts.
    """

    def __init__(self, layouts: Sequence[tuple[tf.Variable, Callable[[], tf.Tensor]]]):
        self._layouts = layouts
        super().__init__()

    def _create_resource(self) -> tf.Tensor:
        name = f"dgm_tf_{uuid.uuid4().hex}"
        return tf.raw_ops.VarHandleOp(dtype=tf.bool, shape=[], shared_name=name)

    def _initialize(self) -> None:
        for kernel, layout in self._layouts:
            kernel.assign(layout())
