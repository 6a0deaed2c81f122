"""Layers that learn a binary mask per task, keep what finished tasks use, and can be widened."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf import _checks, randomness
from dgm_tf.errors import InputError
from dgm_tf.layers import masks
from dgm_tf.layers.kept_arrays import KeptArrays
from dgm_tf.layers.task_batch_norm import TaskBatchNormalization

VARIANTS = ("w", "a")
UPSAMPLING = ("zeros", "nearest")


class FinishedLayer(NamedTuple):
    """The parameters of a finished task's outputs of one layer; see `recall`.

    Arrays or tensors.
    """

    kernel: Any  # float32, on the inputs and units used; variant w: masked; of the product
    affine: Any | None  # float32 [2, units used], scale and shift; None: no normalisation
    mask: Any | None  # bool [units used], variant a only


class MaskedLayer(KeptArrays, keras.layers.Layer):
    """Base class of `MaskedDense`, `MaskedConv2D` and `MaskedConv2DTranspose`.

    `y = mask_a(activation(norm((mask_w * kernel) x)))`, where variant `w` masks the kernel (Eq. 1)
    and variant `a` masks the units, last of all: a masked unit is exactly 0 whatever its
    normalisation and activation say. There is no bias: an offset shared by the tasks would let a
    later one move an earlier one; `normalize=True` gives each task its own.

    One task is being learnt, with a real-valued mask embedding; the finished ones are kept as bits.
    A layer is never widened in place: `finish_task` and `widen` return a new, built layer with
    every old number bit for bit, so no stale graph or optimizer can go on with detached variables.

    Args:
        units: outputs (filters) of the layer.
        variant: `"w"` (masks on weights) or `"a"` (masks on units).
        activation: anything that `keras.activations.get` takes.
        normalize: put a `TaskBatchNormalization` between product and activation.
        kernel_initializer: for new weights, those of a wider layer included.
        seed: where the new weights' numbers come from.
        finished: `(inputs, units)` of each finished task; set by `finish_task`, seldom by hand.
    """

    kept: ClassVar[str] = "finished_masks"
    _in_axis: ClassVar[int] = -2
    _out_axis: ClassVar[int] = -1

    def __init__(
        self,
        units: int,
        *,
        variant: str = "w",
        activation: Any = None,
        normalize: bool = False,
        kernel_initializer: Any = "dgm_normal",
        seed: int = 0,
        finished: Sequence[Sequence[int]] = (),
        **kwargs: Any,
    ):
        # Nothing is cast unasked: a mask's scale is float32 under mixed precision, too.
        super().__init__(autocast=False, **kwargs)
        if variant not in VARIANTS:
            raise InputError(f"variant must be 'w' (weights) or 'a' (units), not {variant!r}")
        self.units = _checks.integer(units, "units", low=1)
        self.variant = variant
        self.activation = keras.activations.get(activation)
        self.normalize = normalize
        if kernel_initializer == "dgm_normal":
            kernel_initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed = int(seed)
        self.finished = tuple((int(inputs), int(outputs)) for inputs, outputs in finished)
        # No variables: nothing trains them, and a thousand tasks would make thousands of them.
        self.finished_masks: tuple[np.ndarray, ...] = ()

    # What a subclass adds: the kernel's form and the product.

    def _kernel_shape(self, inputs: int, units: int) -> tuple[int, ...]:
        raise NotImplementedError

    def _product(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def spread(self, kernel: tf.Tensor) -> tf.Tensor:
        """The kernel of the product for a kernel that is kept; mostly it is the same.

        Args:
            kernel: of a layer's shape or fewer inputs and units, masks applied.
        """
        return kernel

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.inputs = int(input_shape[-1])
        shape = self._kernel_shape(self.inputs, self.units)
        self.kernel = self.add_weight(
            shape=shape, initializer=self._seeded_initializer(), name="kernel"
        )
        # Never in half precision: there a small negative embedding is 0, and its mask open.
        self.embedding = self.add_weight(
            shape=self._mask_shape(self.inputs, self.units),
            initializer="zeros",
            autocast=False,
            aggregation="only_first_replica",  # every replica clips them alike
            name="embedding",
        )
        # Eq. 4's m^{<t}. It can be had from the bits below, but is needed in every step.
        self.reserved = self.add_weight(
            shape=self.embedding.shape,
            initializer="zeros",
            trainable=False,
            dtype="uint8",
            name="reserved",
        )
        if len(self.finished_masks) < len(self.finished):
            self.finished_masks = tuple(np.zeros(size, np.uint8) for size in self.mask_sizes())
        self.norm = None
        if self.normalize:
            self.norm = TaskBatchNormalization(
                finished=[units for _, units in self.finished], dtype=self.dtype_policy, name="norm"
            )
            self.norm.build((None, self.units))

    def mask_sizes(self) -> list[int]:
        """Bytes of each finished task's mask, which may be known before the layer is built."""
        return [masks.packed_size(self._mask_shape(*widths)) for widths in self.finished]

    def _seeded_initializer(self) -> Any:
        describe = getattr(self.kernel_initializer, "get_config", dict)  # a function has none
        config = describe()
        if "seed" not in config:
            return self.kernel_initializer
        # Another draw for every width: a wider layer's new weights must not repeat the old ones.
        config["seed"] = randomness.derive(
            self.seed, "kernel", self.inputs, self.units, len(self.finished)
        )
        return type(self.kernel_initializer).from_config(config)

    def _mask_shape(self, inputs: int, units: int) -> tuple[int, ...]:
        return self._kernel_shape(inputs, units) if self.variant == "w" else (units,)

    def call(
        self,
        inputs: tf.Tensor,
        *,
        scale: tf.Tensor | float | None = None,
        soft_mask: tf.Tensor | None = None,
        task: int | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """The layer's outputs [..., units]: float32 of a finished task, else of the dtype policy.

        Args:
            inputs: [..., inputs]; for a finished task [..., inputs then].
            scale: steepness s of the soft mask (Eq. 2); None applies the binary mask, which has
                no gradient.
            soft_mask: what `mask` has given for a scale, where that is at hand. Without it reserved
                weights have no gradient; with it `gate` takes that away.
            task: a finished task, from 1; None for the one being learnt.
            training: use batch statistics in the normalisation.
        """
        if task is not None:
            return self.recall(inputs, task)
        inputs = tf.cast(inputs, self.compute_dtype)
        kernel = tf.convert_to_tensor(self.kernel)
        if soft_mask is None:  # Else the caller gates, who knows what the layer below reserves.
            kernel = tf.where(self.reserved_weights(), tf.stop_gradient(kernel), kernel)
        kernel = tf.cast(kernel, self.compute_dtype)
        mask = self.mask(scale) if soft_mask is None else soft_mask
        mask = tf.cast(mask, self.compute_dtype)
        if self.variant == "w":
            kernel *= mask
        outputs = self._product(inputs, self.spread(kernel))
        if self.norm is not None:
            outputs = self.norm(outputs, training=training)
        outputs = self.activation(outputs)
        return outputs * mask if self.variant == "a" else outputs

    def recall(self, inputs: tf.Tensor, task: int) -> tf.Tensor:
        """Outputs float32 [..., units then] of a finished task, in its own widths.

        The product always has the shape it had when the task ended, however wide the layer has
        become. That, not only the zeros of the mask, is what keeps images bit-identical: a wider
        product may be summed in another order.

        Args:
            inputs: float32 [..., inputs then].
            task: a finished task, from 1.
        """
        finished = self.finished_layer(task)
        outputs = self._product(tf.cast(inputs, tf.float32), tf.cast(finished.kernel, tf.float32))
        if finished.affine is not None:
            scale, shift = tf.unstack(tf.convert_to_tensor(finished.affine))
            outputs = outputs * scale + shift
        outputs = self.activation(outputs)
        if finished.mask is not None:
            return tf.where(finished.mask, outputs, tf.zeros_like(outputs))
        return outputs

    def finished_layer(
        self,
        task: int,
        *,
        used_inputs: np.ndarray | None = None,
        used_units: np.ndarray | None = None,
    ) -> FinishedLayer:
        """Returns the parameters of one task's outputs, in its own widths or on fewer units.

        Args:
            task: a finished task, from 1.
            used_inputs: ascending indices int [n] of the inputs given; None for all.
            used_units: ascending indices int [m] of the units wanted; None for all.
        """
        inputs_then, units_then = self._widths_of(task)
        used_inputs = np.arange(inputs_then) if used_inputs is None else used_inputs
        used_units = np.arange(units_then) if used_units is None else used_units
        mask = self.finished_mask(task)
        with tf.init_scope():  # the value, also while a graph is traced
            corner = tuple(slice(size) for size in self._kernel_shape(inputs_then, units_then))
            kernel = tf.convert_to_tensor(self.kernel)[corner]
            for axis, indices in ((self._out_axis, used_units), (self._in_axis, used_inputs)):
                if len(indices) < kernel.shape[axis]:  # seldom in a large layer, and costly there
                    kernel = tf.gather(kernel, indices, axis=axis)
                    mask = mask.take(indices, axis=axis) if self.variant == "w" else mask
            # A selection, not a product: what later tasks made of a weight leaves no trace, be it
            # the sign of a zero or a NaN.
            if self.variant == "w":
                kernel = tf.where(mask, kernel, tf.zeros_like(kernel))
            kernel = self.spread(kernel)
        affine = None if self.norm is None else self.norm.affine_of(task)[:, used_units]
        return FinishedLayer(kernel, affine, mask[used_units] if self.variant == "a" else None)

    def _widths_of(self, task: int) -> tuple[int, int]:
        self._check_finished(task)
        return self.finished[task - 1]

    # Masks, gate and sparsity.

    def mask(self, scale: tf.Tensor | float | None = None) -> tf.Tensor:
        """Mask of the task being learnt: soft at steepness `scale`, binary for None.

        Args:
            scale: steepness s of the soft mask (Eq. 2); None for the binary mask.
        """
        embedding = tf.convert_to_tensor(self.embedding)
        return masks.binary_mask(embedding) if scale is None else masks.soft_mask(embedding, scale)

    def finished_mask(self, task: int) -> np.ndarray:
        """Binary mask, bool, of a finished task (from 1), in its own widths.

        Args:
            task: a finished task, from 1.

        Raises:
            InputError: no such task.
        """
        shape = self._mask_shape(*self._widths_of(task))
        return masks.unpack_bits(self.finished_masks[task - 1], shape)

    def union_of_masks(self) -> np.ndarray:
        """What all finished tasks have reserved by their bits, bool in the present widths."""
        union = np.zeros(self.embedding.shape, bool)
        for task in range(1, len(self.finished) + 1):
            mask = self.finished_mask(task)
            union[tuple(slice(size) for size in mask.shape)] |= mask
        return union

    def reserved_weights(
        self, reserved_inputs: Any | None = None, *, reserved: Any | None = None
    ) -> tf.Tensor:
        """Returns which weights finished tasks have reserved, bool of a kernel's shape.

        Variant a (HAT): those between a reserved input and a reserved unit,
        `min(m_acc_out[j], m_acc_in[i])`; with no masked layer below, by the output side only.

        Args:
            reserved_inputs: the layer below's reserved units, [inputs]; variant a only.
            reserved: what to take for this layer's own, of the masks' shape in the present widths
                or earlier ones; None for what all finished tasks have reserved.
        """
        reserved = tf.cast(self.reserved if reserved is None else reserved, tf.bool)
        if self.variant == "w":
            return reserved
        if reserved_inputs is None:
            reserved_inputs = tf.ones([self.inputs], tf.bool)
        below = tf.cast(reserved_inputs, tf.bool)
        between = tf.logical_and(
            tf.expand_dims(below, self._out_axis), tf.expand_dims(reserved, self._in_axis)
        )
        return tf.broadcast_to(between, self._kernel_shape(below.shape[0], reserved.shape[0]))

    def gate(self, gradient: tf.Tensor, reserved_inputs: tf.Tensor | None = None) -> tf.Tensor:
        """Eq. 4: the kernel's gradient, 0 where a finished task has reserved the weight.

        A selection, not a product with `1 - m_acc`: NaN times 0 would still reach the weight.

        Args:
            gradient: of the kernel, in its shape.
            reserved_inputs: the layer below's reserved units, [inputs]; variant a only.
        """
        reserved = self.reserved_weights(reserved_inputs)
        return tf.where(reserved, tf.zeros_like(gradient), gradient)

    def embedding_gradient(
        self, gradient: tf.Tensor, mask: tf.Tensor, *, s_max_i: tf.Tensor
    ) -> tf.Tensor:
        """The embedding's gradient by that of its mask; see `masks.embedding_gradient`.

        Args:
            gradient: by the soft mask, in the mask's shape.
            mask: the soft mask.
            s_max_i: of Eq. 3, a scalar.
        """
        embedding = tf.convert_to_tensor(self.embedding)
        return masks.embedding_gradient(gradient, embedding, mask, s_max_i=s_max_i)

    def taken(self, mask: tf.Tensor) -> tf.Tensor:
        """Eq. 5's numerator, `sum m (1 - m_acc)`, a float32 scalar.

        Args:
            mask: of the task being learnt, from `mask`.
        """
        return tf.reduce_sum(tf.where(tf.cast(self.reserved, tf.bool), tf.zeros_like(mask), mask))

    def free(self) -> int:
        """Eq. 5's denominator, `sum (1 - m_acc)`: weights (w) or units (a) not reserved."""
        return int(np.sum(to_numpy(self.reserved) == 0))

    # The next layer: one task further, or wider.

    def finish_task(self) -> "MaskedLayer":
        """A new layer in which the present task is finished and a fresh one can be learnt."""
        self._check_built()
        return self._successor(self.inputs, self.units, finish=True)

    def widen(self, *, inputs: int | None = None, units: int | None = None) -> "MaskedLayer":
        """A new layer with more inputs or units; every old weight and mask keeps its exact bits.

        Args:
            inputs: new number of inputs, None for the present.
            units: new number of units, None for the present.

        Raises:
            InputError: narrower than the present layer.
        """
        self._check_built()
        inputs = self.inputs if inputs is None else _checks.integer(inputs, "inputs", low=0)
        units = self.units if units is None else _checks.integer(units, "units", low=0)
        if inputs < self.inputs or units < self.units:
            raise InputError(
                f"a layer can only be widened: it has {self.inputs} inputs and {self.units} units, "
                f"asked for {inputs} and {units}"
            )
        return self._successor(inputs, units, finish=False)

    def _successor(self, inputs: int, units: int, *, finish: bool) -> "MaskedLayer":
        config = self.get_config()
        config["units"] = units
        if finish:
            config["finished"] = [*self.finished, (self.inputs, self.units)]
        layer = type(self).from_config(config)
        layer.build((None, inputs))
        layer.inherit(self)
        return layer

    def inherit(self, old: "MaskedLayer") -> None:
        """Takes over the state of a narrower layer with the same tasks, or one less (now finished).

        Args:
            old: a built layer of the same kind; its kernel becomes the leading part of this one's.
        """
        corner = tuple(slice(size) for size in old.kernel.shape)
        mask_corner = tuple(slice(size) for size in old.embedding.shape)
        _assign_part(self.kernel, corner, to_numpy(old.kernel))
        _assign_part(self.reserved, mask_corner, to_numpy(old.reserved))
        self.finished_masks = old.finished_masks
        if len(self.finished) > len(old.finished):
            mask = (to_numpy(old.embedding) >= 0.0).astype(np.uint8)
            self.finished_masks = (*old.finished_masks, masks.pack_bits(mask))
            _assign_part(self.reserved, mask_corner, np.maximum(mask, to_numpy(old.reserved)))
        else:
            _assign_part(self.embedding, mask_corner, to_numpy(old.embedding))
        if self.norm is not None:
            self.norm.inherit(old.norm)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "variant": self.variant,
            "activation": keras.activations.serialize(self.activation),
            "normalize": self.normalize,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
            "finished": [list(widths) for widths in self.finished],
        }


def _side(value: Any, name: str) -> int:
    """The side of a square, given as a number or, as Keras allows, as two equal ones."""
    if isinstance(value, tuple | list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    return _checks.integer(value, name, low=1)


def _assign_part(variable: keras.Variable, part: tuple[slice, ...], value: np.ndarray) -> None:
    whole = to_numpy(variable)
    whole[part] = value
    variable.assign(whole)


@keras.saving.register_keras_serializable("dgm_tf")
class MaskedDense(MaskedLayer):
    """A dense layer with a mask per task: [..., inputs] -> [..., units], kernel [inputs, units].

    One task is being learnt, with a real-valued mask embedding. Finished tasks keep their masks as
    bits. A layer is never widened in place: `finish_task` and `widen` return a new, built layer
    that has every old number bit for bit. There is no bias; `normalize=True` gives each task an
    offset.

    Args:
        units: outputs of the layer.
        variant: `"w"` (masks on weights, Eq. 1) or `"a"` (masks on units).
        activation: anything that `keras.activations.get` takes.
        normalize: put a `TaskBatchNormalization` between product and activation.
        kernel_initializer: for new weights, including the new ones of a wider layer.
        seed: determines the new weights.
        finished: `(inputs, units)` of each finished task; `finish_task` sets it.
        **kwargs: those of `keras.layers.Layer`.

    Raises:
        InputError: `units` or `variant` is out of range.

    Example:
        ```python
        >>> layer = dgm_tf.MaskedDense(4, variant="w", activation="relu")
        >>> layer(tf.ones([2, 3]), scale=100.0).shape  # the soft mask of Eq. 2
        TensorShape([2, 4])
        >>> wider = layer.finish_task().widen(units=6)
        >>> wider(tf.ones([2, 3]), task=1).shape
        TensorShape([2, 4])
        ```
    """

    def _kernel_shape(self, inputs: int, units: int) -> tuple[int, ...]:
        return (inputs, units)

    def _product(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.linalg.matmul(inputs, kernel)


class _MaskedConvolution(MaskedLayer):
    """Square kernels and strides; images are [B, height, width, inputs]."""

    def __init__(
        self,
        units: int,
        kernel_size: int,
        *,
        strides: int = 1,
        padding: str = "same",
        **kwargs: Any,
    ):
        super().__init__(units, **kwargs)
        if padding not in ("same", "valid"):
            raise InputError(f"padding must be 'same' or 'valid', not {padding!r}")
        self.kernel_size = _side(kernel_size, "kernel_size")
        self.strides = _side(strides, "strides")
        self.padding = padding

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }

    def _output_size(self, size: Any) -> Any:
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        sizes = (None if size is None else self._output_size(size) for size in input_shape[1:3])
        return (input_shape[0], *sizes, self.units)


@keras.saving.register_keras_serializable("dgm_tf")
class MaskedConv2D(_MaskedConvolution):
    """A 2-D convolution with a mask per task; kernel [k, k, inputs, units].

    Inputs are float32 [B, height, width, inputs]. See `MaskedDense` for masks and growth.

    Args:
        units: filters of the layer.
        kernel_size: k, pixels along each side.
        strides: pixels between two positions, along each side.
        padding: `"same"` or `"valid"`.
        **kwargs: the other arguments of `MaskedDense`.

    Raises:
        InputError: `units`, `variant` or `padding` is out of range.

    Example:
        ```python
        >>> layer = dgm_tf.MaskedConv2D(5, 3, strides=2, variant="a", normalize=True)
        >>> layer(tf.ones([2, 8, 8, 3]), scale=100.0).shape
        TensorShape([2, 4, 4, 5])
        >>> layer.finish_task()(tf.ones([2, 8, 8, 3]), task=1).shape
        TensorShape([2, 4, 4, 5])
        ```
    """

    def _kernel_shape(self, inputs: int, units: int) -> tuple[int, ...]:
        return (self.kernel_size, self.kernel_size, inputs, units)

    def _product(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper())

    def _output_size(self, size: Any) -> Any:
        taps = 1 if self.padding == "same" else self.kernel_size
        return (size - taps) // self.strides + 1


@keras.saving.register_keras_serializable("dgm_tf")
class MaskedConv2DTranspose(_MaskedConvolution):
    """A transposed 2-D convolution with a mask per task; kernel [k, k, units, inputs].

    Inputs are float32 [B, height, width, inputs]. See `MaskedDense` for masks and growth.

    Args:
        units: filters of the layer.
        kernel_size: k, pixels along each side.
        strides: pixels between two positions, along each side.
        padding: `"same"` or `"valid"`.
        upsampling: what the kernel sees of an input pixel: `"zeros"` (one pixel among zeros) or
            `"nearest"` (a square of `strides` x `strides` equal pixels, which avoids checkerboards;
            Odena et al. 2016).
        **kwargs: the other arguments of `MaskedDense`.

    Raises:
        InputError: `units`, `variant`, `padding` or `upsampling` is out of range.

    Example:
        ```python
        >>> layer = dgm_tf.MaskedConv2DTranspose(5, 3, strides=2, variant="a", normalize=True)
        >>> layer(tf.ones([2, 8, 8, 3]), scale=100.0).shape
        TensorShape([2, 16, 16, 5])
        >>> layer.finish_task()(tf.ones([2, 8, 8, 3]), task=1).shape
        TensorShape([2, 16, 16, 5])
        ```
    """

    _in_axis: ClassVar[int] = -1
    _out_axis: ClassVar[int] = -2

    def __init__(
        self,
        units: int,
        kernel_size: int,
        *,
        strides: int = 1,
        padding: str = "same",
        upsampling: str = "zeros",
        **kwargs: Any,
    ):
        super().__init__(units, kernel_size, strides=strides, padding=padding, **kwargs)
        _checks.one_of("upsampling", upsampling, UPSAMPLING)
        self.upsampling = upsampling

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "upsampling": self.upsampling}

    @property
    def product_side(self) -> int:
        """Pixels along each side of the product's kernel, from `spread`."""
        return self.kernel_size + (self.strides - 1 if self.upsampling == "nearest" else 0)

    def spread(self, kernel: tf.Tensor) -> tf.Tensor:
        """The kernel [`product_side`, `product_side`, units, inputs] of a transposed convolution.

        A kernel on repeated pixels is one on pixels among zeros: its copies, shifted by up to
        `strides - 1` along each side, added up. So repeated pixels cost no more than the sum.

        Args:
            kernel: [k, k, units, inputs], masks applied.
        """
        extra = self.product_side - self.kernel_size
        if not extra:
            return kernel
        for axis in (0, 1):
            copies = []
            for before in range(extra + 1):
                paddings = [[0, 0]] * 4
                paddings[axis] = [before, extra - before]
                copies.append(tf.pad(kernel, paddings))
            kernel = tf.add_n(copies)
        return kernel

    def _kernel_shape(self, inputs: int, units: int) -> tuple[int, ...]:
        return (self.kernel_size, self.kernel_size, units, inputs)

    def _product(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        side = self.product_side
        whole = self.padding == "valid" and side >= self.strides
        if whole and inputs.shape[1:3] == (1, 1):
            # One input pixel: the kernel is the whole output, and a matrix product is faster.
            flat = tf.reshape(kernel, [-1, kernel.shape[-1]])
            outputs = tf.linalg.matmul(inputs[:, 0, 0, :], flat, transpose_b=True)
            return tf.reshape(outputs, [-1, side, side, kernel.shape[-2]])
        shape = tf.shape(inputs)
        output_shape = tf.stack(
            [shape[0], self._output_size(shape[1]), self._output_size(shape[2]), kernel.shape[-2]]
        )
        outputs = tf.nn.conv2d_transpose(
            inputs, kernel, output_shape, self.strides, self.padding.upper()
        )
        sizes = [None if size is None else self._output_size(size) for size in inputs.shape[1:3]]
        outputs.set_shape([inputs.shape[0], *sizes, kernel.shape[-2]])
        return outputs

    def _output_size(self, size: Any) -> Any:
        extra = 0 if self.padding == "same" else max(self.product_side - self.strides, 0)
        return size * self.strides + extra
