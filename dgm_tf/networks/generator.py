"""The conditional generator: masked, growing, with one output layer per task."""

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from dgm_tf import _checks, randomness
from dgm_tf.devices import determinism
from dgm_tf.errors import InputError
from dgm_tf.layers import MaskedConv2DTranspose
from dgm_tf.layers.kept_arrays import KeptArrays
from dgm_tf.layers.masks import EMBEDDING_LIMIT
from dgm_tf.layers.task_batch_norm import replacing_statistics
from dgm_tf.networks import drawing, growth
from dgm_tf.networks.drawing import FinishedGenerator

_KERNEL = 4  # side of the kernels that double an image
_KEPT = {"zeros": 4, "nearest": 3}  # the side that is learnt; see MaskedConv2DTranspose.spread

OVERLAPS = 40  # masks of that many tasks are compared with that of the next

# Cut-out kernels that are kept for the next images of the same task.
_CUT_BYTES = 256 * 2**20


@keras.saving.register_keras_serializable("dgm_tf")
class Generator(KeptArrays, keras.Model):
    """Noise and label to image, by n masked blocks and an output layer per task.

    z [B, latent] -> transposed convolution to S/2^n x S/2^n x n1 -> 4x4, stride 2 -> n2 -> ... ->
    (per task, unmasked) 4x4, stride 2 -> S x S x channels, tanh. Batch norm per task and ReLU in
    each block, no biases. The paper's has n = 3 for S = 32. With `upsampling="nearest"` the blocks
    after the first are 3x3 on pixels that are repeated, which a transposed 4x4 comes to, too.

    Like its layers, a generator never changes its shape: `finish_task` and `widen` return a new
    one. Where TensorFlow has a GPU, building one turns `enable_op_determinism` on for the process.

    Args:
        image_shape: (S, S, channels), S a multiple of 2^n.
        widths: units of the n blocks now; see `dgm_tf.sizes` for an n that fits a size.
        initial_widths: units before the first task; None when these are they.
        variant: `"w"` or `"a"`.
        latent_dim: length of the input vector.
        upsampling: what a block's kernel sees of a pixel, `"zeros"` or `"nearest"`; see
            `MaskedConv2DTranspose`.
        seed: where new weights come from.
        dtype: precision of the task being learnt, such as "mixed_bfloat16"; finished ones are
            always recalled in float32.
        finished: number of classes of each finished task.
        finished_widths: widths of the blocks at the end of each finished task.
    """

    kept: ClassVar[str] = "finished_heads"

    def __init__(
        self,
        image_shape: Sequence[int],
        widths: Sequence[int],
        *,
        initial_widths: Sequence[int] | None = None,
        variant: str = "w",
        latent_dim: int = 128,
        upsampling: str = "zeros",
        seed: int = 0,
        finished: Sequence[int] = (),
        finished_widths: Sequence[Sequence[int]] = (),
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)  # the blocks do
        self.widths = tuple(int(units) for units in widths)
        self.image_shape = _checks.square_images(image_shape, len(self.widths))
        self._side = self.image_shape[0] >> len(self.widths)
        self.initial_widths = tuple(int(units) for units in initial_widths or widths)
        self.variant = variant
        self.latent_dim = int(latent_dim)
        _checks.one_of("upsampling", upsampling, _KEPT)
        self.upsampling = upsampling
        self.seed = int(seed)
        self.finished = tuple(int(count) for count in finished)
        self.finished_widths = tuple(tuple(int(n) for n in row) for row in finished_widths)
        self.blocks = [self._block(layer) for layer in range(len(self.widths))]
        self.head = self._head(len(self.finished) + 1)
        # Of finished tasks. No variables: nothing trains them, and a thousand tasks would make
        # thousands of them.
        self.finished_heads: tuple[np.ndarray, ...] = ()
        self._used: dict[int, list[np.ndarray]] = {}
        self._cut: dict[int, FinishedGenerator] = {}
        # By task, for `dgm_tf.networks.generator_state`.
        self.finished_arrays: dict[int, dict[str, np.ndarray]] = {}
        rows = [*self.finished_widths, self.widths]
        if len(rows) != len(self.finished) + 1 or any(
            new < old for a, b in itertools.pairwise(rows) for old, new in zip(a, b, strict=True)
        ):
            raise InputError(
                f"{len(self.finished)} finished tasks need widths that never fall, not "
                f"{_checks.one_line(rows)}"
            )

    def _block(self, layer: int) -> MaskedConv2DTranspose:
        inputs = [(self.latent_dim, *row)[layer] for row in self.finished_widths]
        units = [row[layer] for row in self.finished_widths]
        first = layer == 0
        return MaskedConv2DTranspose(
            self.widths[layer],
            self._side if first else _KEPT[self.upsampling],
            strides=1 if first else 2,
            padding="valid" if first else "same",
            upsampling=self.upsampling,
            variant=self.variant,
            activation="relu",
            normalize=True,
            seed=randomness.derive(self.seed, "block", layer),
            finished=list(zip(inputs, units, strict=True)),
            dtype=self.dtype_policy,
            name=f"block_{layer + 1}",
        )

    def _head(self, task: int) -> keras.layers.Conv2DTranspose:
        return keras.layers.Conv2DTranspose(
            self.image_shape[-1],
            _KERNEL,
            strides=2,
            padding="same",
            data_format="channels_last",
            activation="tanh",
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=0.02, seed=randomness.derive(self.seed, "head", task)
            ),
            dtype="float32",  # under mixed precision, too: half of it has too few shades
            name=f"head_{task}",
        )

    def build(self, input_shape: Any = None) -> None:
        determinism.ensure()  # an exact memory on a GPU, too
        shape = (None, 1, 1, self.latent_dim)
        for block in self.blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        self.head.build(shape)
        if len(self.finished_heads) < len(self.finished):
            self.finished_heads = tuple(
                np.zeros(self.head_shape(row[-1]), np.float32) for row in self.finished_widths
            )
        self.built = True

    def head_shape(self, units: int) -> tuple[int, ...]:
        """Shape of the kernel of an output layer that reads so many units."""
        return (_KERNEL, _KERNEL, self.image_shape[-1], units)

    def kernel_size(self, layer: int, widths: Sequence[int]) -> int:
        """Weights of one block at the given widths, which need not be built."""
        inputs = (self.latent_dim, *widths)[layer]
        return inputs * widths[layer] * self.blocks[layer].kernel_size ** 2

    # Images.

    def latent(self, noise: tf.Tensor, labels: tf.Tensor, classes: int) -> tf.Tensor:
        """The generator's input: noise whose first entries are overwritten by the one-hot label.

        The paper's label is one-hot over all classes seen, which ends where the noise does. A task
        has its own masks and output layer, so that here its label tells its own classes apart and
        nothing in a finished task depends on how many came before.

        Args:
            noise: float32 [B, latent].
            labels: int32 [B], each class's position among those of its task, in [0, classes).
            classes: the task's number of classes, below latent.
        """
        return tf.concat([tf.one_hot(labels, classes), noise[:, classes:]], axis=1)

    def call(
        self,
        latent: tf.Tensor,
        *,
        masks: Sequence[tf.Tensor] | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Images float32 [B, S, S, channels] in (-1, 1) of the task being learnt.

        Args:
            latent: float32 [B, latent], from `latent`.
            masks: soft ones, from `soft_masks`; None for binary masks.
            training: batch statistics instead of moving ones.
        """
        outputs = latent[:, None, None, :]
        for block, mask in zip(self.blocks, masks or [None] * len(self.blocks), strict=True):
            outputs = block(outputs, soft_mask=mask, training=training)
        return self.head(outputs)

    def recall(self, latent: tf.Tensor, task: int) -> np.ndarray:
        """Images float32 [B, S, S, channels] of a finished task (from 1), by its binary masks.

        Units that came later, that are masked or that nothing reads are cut away; see
        `MaskedLayer.recall` for why the same shapes make the same bits. An image depends on its own
        row only, to the last bit.
        """
        return drawing.in_groups(tf.convert_to_tensor(latent), self.finished_generator(task))

    def finished_generator(self, task: int) -> FinishedGenerator:
        """Returns the parameters of one finished task's images, as tensors.

        They are cut out of the kernels, which the gate keeps as they are, and some are kept.
        """
        # Other threads may generate, too: what one has found, another may take away.
        if (cut := self._cut.get(task)) is None:
            cut = self._cut_out(task)
            size = sum(int(np.prod(block.kernel.shape)) for block in cut.blocks) * 4
            for oldest in list(self._cut):
                if size * (len(self._cut) + 1) <= _CUT_BYTES:
                    break
                self._cut.pop(oldest, None)
            self._cut[task] = cut
        return cut

    def _cut_out(self, task: int) -> FinishedGenerator:
        blocks = []
        used_inputs = np.arange(self.latent_dim)
        for block, used_units in zip(self.blocks, self.used_units(task), strict=True):
            blocks.append(
                block.finished_layer(task, used_inputs=used_inputs, used_units=used_units)
            )
            used_inputs = used_units
        cut = FinishedGenerator(tuple(blocks), self.finished_heads[task - 1][..., used_inputs])
        return tf.nest.map_structure(
            lambda it: None if it is None else tf.convert_to_tensor(it), cut
        )

    def used_units(self, task: int) -> list[np.ndarray]:
        """Indices of the units that a finished task's images depend on, a row per block.

        A unit is needed if its output can differ from 0 and something above reads it. The output
        layer reads every unit of the last block.
        """
        if task not in self._used:
            self._used[task] = self._find_used(task)
        return self._used[task]

    def _find_used(self, task: int) -> list[np.ndarray]:
        masks = [block.finished_mask(task) for block in self.blocks]
        alive = []
        for block, mask in zip(self.blocks, masks, strict=True):
            if self.variant == "a":
                alive.append(mask)
                continue
            # Without a weight a unit is the constant relu(shift): it matters only above 0.
            connected = mask.any(axis=(0, 1, 3))
            alive.append(connected | (block.norm.affine_of(task)[1] > 0))
        used = [alive[-1]]
        for layer in range(len(masks) - 2, -1, -1):
            wanted = alive[layer]
            if self.variant == "w":
                above = masks[layer + 1][:, :, used[0], :]
                wanted = wanted & above.any(axis=(0, 1, 2))
            used.insert(0, wanted)
        # A product needs one unit at least; an unused one brings zeros.
        return [np.flatnonzero(row) if row.any() else np.zeros(1, int) for row in used]

    @property
    def class_tasks(self) -> np.ndarray:
        """The finished task (from 1) of each class position, int [classes]."""
        return np.repeat(np.arange(1, len(self.finished) + 1), self.finished)

    # Training: what the learner's step needs.

    def embeddings(self) -> list[keras.Variable]:
        """Mask embeddings of the task being learnt, a variable per block."""
        return [block.embedding for block in self.blocks]

    def learning_variables(self) -> list[keras.Variable]:
        """Returns the variables of the present task, none of the finished ones."""
        variables = list(self.head.trainable_variables)
        for block in self.blocks:
            variables += block.trainable_variables
        return variables

    def soft_masks(self, scale: tf.Tensor | float) -> list[tf.Tensor]:
        """Masks of the task being learnt at a steepness (Eq. 2), float32, one per block."""
        return [block.mask(scale) for block in self.blocks]

    def differentiated(self, masks: Sequence[tf.Tensor]) -> list[Any]:
        """Returns what a step's gradients are of: `learning_variables`, masks for embeddings.

        A mask is computed once in a step, and its slope is known; see `gated`.
        """
        of_embedding = {id(each): mask for each, mask in zip(self.embeddings(), masks, strict=True)}
        return [of_embedding.get(id(each), each) for each in self.learning_variables()]

    def gated(
        self,
        gradients: Sequence[tf.Tensor],
        masks: Sequence[tf.Tensor],
        *,
        s_max_i: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Returns gradients of `learning_variables` as they may be applied.

        Those of kernels are gated (Eq. 4), those of embeddings have no annealing in them.

        Args:
            gradients: of `differentiated(masks)`, in their order.
            masks: from `soft_masks`.
            s_max_i: of Eq. 3.
        """
        indices = {id(each): index for index, each in enumerate(self.learning_variables())}
        gated = list(gradients)
        below = None
        for block, mask in zip(self.blocks, masks, strict=True):
            kernel, embedding = indices[id(block.kernel)], indices[id(block.embedding)]
            gated[kernel] = block.gate(gated[kernel], below)
            gated[embedding] = block.embedding_gradient(gated[embedding], mask, s_max_i=s_max_i)
            below = block.reserved
        return gated

    def clip_embeddings(self) -> None:
        """Keeps embeddings where a later step's gradient can still move them (HAT)."""
        for embedding in self.embeddings():
            embedding.assign(tf.clip_by_value(embedding, -EMBEDDING_LIMIT, EMBEDDING_LIMIT))

    def taken(self, masks: Sequence[tf.Tensor]) -> tf.Tensor:
        """Eq. 5's numerator, `sum m (1 - m_acc)` over all blocks, a float32 scalar."""
        pairs = zip(self.blocks, masks, strict=True)
        return tf.add_n([block.taken(mask) for block, mask in pairs])

    def free(self) -> int:
        """Eq. 5's denominator, `sum (1 - m_acc)` over all blocks; the same for a whole task."""
        return sum(block.free() for block in self.blocks)

    def relative_size(self) -> float:
        """Maskable elements now over those before the first task."""
        now, first = (
            sum(self.capacity(layer, widths) for layer in range(len(self.blocks)))
            for widths in (self.widths, self.initial_widths)
        )
        return now / first

    def capacity(self, layer: int, widths: Sequence[int]) -> int:
        """Weights (w) or units (a) that the masks of one block cover at the given widths."""
        return widths[layer] if self.variant == "a" else self.kernel_size(layer, widths)

    # Growth.

    def calibrate(self, latent: tf.Tensor) -> None:
        """Measures the present task's normalisation statistics under its binary masks.

        Training ends on soft masks and on moving averages over masks that have since moved.

        Args:
            latent: float32 [B, latent], a large batch of the task's inputs.
        """
        with replacing_statistics([block.norm for block in self.blocks]):
            self(latent, training=True)

    def finish_task(self, classes: int) -> "Generator":
        """A new generator in which the present task is finished.

        Args:
            classes: classes of the task that ends.
        """
        finished = self._successor(
            finished=[*self.finished, classes],
            finished_widths=[*self.finished_widths, self.widths],
        )
        finished.finished_heads = (*self.finished_heads, to_numpy(self.head.kernel).copy())
        return finished

    def grown_widths(self) -> tuple[int, ...]:
        """Widths that give every block at least the free capacity it had before the first task."""
        widths: list[int] = []
        for layer, block in enumerate(self.blocks):
            reserved = int(to_numpy(block.reserved).sum())
            if self.variant == "a":
                # Nothing is missing where it was widened by more than growth asks for.
                widths.append(max(block.units, self.initial_widths[layer] + reserved))
                continue
            widths.append(
                growth.widened_by_weights(
                    units=block.units,
                    taps=block.kernel_size**2,
                    reserved=reserved,
                    initial_free=self.capacity(layer, self.initial_widths),
                    new_inputs=widths[-1] if widths else block.inputs,
                )
            )
        return tuple(widths)

    def widen(self, widths: Sequence[int]) -> "Generator":
        """A new, wider generator; every finished task's images stay the same, bit for bit.

        Raises:
            InputError: a block would lose units.
        """
        if any(new < old for new, old in zip(widths, self.widths, strict=True)):
            raise InputError(
                f"a generator can only be widened: it has {list(self.widths)} units, asked for "
                f"{list(widths)}"
            )
        return self._successor(widths=list(widths))

    def _successor(self, **changes: Any) -> "Generator":
        generator = type(self).from_config({**self.get_config(), **changes})
        generator.build()
        for mine, its in zip(generator.blocks, self.blocks, strict=True):
            mine.inherit(its)
        generator.finished_heads = self.finished_heads
        # Which nothing changes any more. Copies: a task that is broken off adds to its own.
        generator._used = dict(self._used)
        generator.finished_arrays = dict(self.finished_arrays)
        if len(generator.finished) == len(self.finished):
            value = to_numpy(generator.head.kernel).copy()
            value[..., : self.widths[-1]] = to_numpy(self.head.kernel)
            generator.head.kernel.assign(value)
        return generator

    def parameters(self) -> int:
        """Weights of blocks and output layers plus two normalisation vectors per task and block."""
        kernels = sum(int(np.prod(block.kernel.shape)) for block in self.blocks)
        heads = sum(head.size for head in (*self.finished_heads, to_numpy(self.head.kernel)))
        norms = 2 * sum(sum(row) for row in (*self.finished_widths, self.widths))
        return kernels + heads + norms

    def layer_report(self) -> list[dict[str, Any]]:
        """Per block: sizes, and how much is reserved and free (weights for w, units for a)."""
        rows = []
        for layer, block in enumerate(self.blocks):
            capacity = self.capacity(layer, self.widths)
            reserved = int(to_numpy(block.reserved).sum())
            rows.append(
                {
                    "layer": block.name,
                    "inputs": block.inputs,
                    "units": block.units,
                    "weights": int(np.prod(block.kernel.shape)),
                    "reserved": reserved,
                    "free": capacity - reserved,
                    "initial_free": self.capacity(layer, self.initial_widths),
                }
            )
        return rows

    def mask_overlap(self, task: int) -> list[int]:
        """Weights (w) or units (a) that a finished task's mask shares with the ones before it.

        Args:
            task: from 1.

        Returns:
            Counts over all blocks, for the last 40 tasks up to this one; the last is the mask's own
            size.
        """
        others = range(max(1, task + 1 - OVERLAPS), task + 1)
        counts = np.zeros(len(others), int)
        for block in self.blocks:
            mask = block.finished_mask(task)
            for place, other in enumerate(map(block.finished_mask, others)):
                # The block was narrower then: its mask is the leading part.
                part = mask[tuple(slice(size) for size in other.shape)]
                counts[place] += np.count_nonzero(part & other)
        return counts.tolist()

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "widths": list(self.widths),
            "initial_widths": list(self.initial_widths),
            "variant": self.variant,
            "latent_dim": self.latent_dim,
            "upsampling": self.upsampling,
            "seed": self.seed,
            "finished": list(self.finished),
            "finished_widths": [list(row) for row in self.finished_widths],
            "dtype": self.dtype_policy.name,
        }
