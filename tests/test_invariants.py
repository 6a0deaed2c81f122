"""The method's promises over random small nets, variants, splits of classes and growth sequences.

A history is a sequence of tasks; each is learnt by updates through the real gate and a real, fresh
Adam, finished, and grown as a run grows or wider. What is promised of all histories is checked on
each: images, weights, free capacity and masks.
"""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from dgm_tf.learners.phase import new_adam
from dgm_tf.networks import Generator
from dgm_tf.networks.generator_state import generator_arrays, restored_generator
from dgm_tf.storage import checkpoint
from tests.layers.layer_check import bits

# Building and running small networks takes most of an example's time: few examples by default.
_COMMON = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "phases": (Phase.explicit, Phase.generate),  # to make a failing example small takes minutes
    "suppress_health_check": list(HealthCheck),
}
BRIEF = settings(max_examples=6, **_COMMON)
LONG = settings(max_examples=150, **(_COMMON | {"derandomize": "CI" in os.environ}))


@dataclasses.dataclass(frozen=True)
class Learnt:
    """One task of a history.

    Attributes:
        classes: how many classes it brings.
        wider: units that each block gets beyond what growth asks for.
        kept: share of the mask that it keeps open.
        seed: of its updates.
    """

    classes: int
    wider: tuple[int, int, int]
    kept: float
    seed: int


learnt = st.builds(
    Learnt,
    classes=st.integers(1, 3),
    wider=st.tuples(*[st.sampled_from([0, 0, 1, 3])] * 3),
    kept=st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 2**16),
)
generators = st.fixed_dictionaries(
    {
        "image_shape": st.sampled_from([(16, 16, 1), (8, 8, 3)]),
        "widths": st.tuples(*[st.integers(1, 5)] * 3),
        "variant": st.sampled_from("wa"),
        "latent_dim": st.integers(10, 14),  # more than the classes of three tasks
        "seed": st.integers(0, 2**16),
    }
)
histories = st.lists(learnt, min_size=2, max_size=3)


def learn(generator, task):
    """Steps of Adam with random gradients through the gate; a mask of the share that is wanted."""
    random = np.random.RandomState(task.seed)
    variables = generator.learning_variables()
    optimizer = new_adam(0.05, variables)
    for _ in range(3):
        gradients = [tf.constant(random.normal(size=v.shape), tf.float32) for v in variables]
        masks = generator.soft_masks(7.0)
        gated = generator.gated(gradients, masks, s_max_i=tf.constant(50.0))
        optimizer.apply(gated, variables)
        generator.clip_embeddings()
    for embedding in generator.embeddings():
        closed = random.uniform(size=embedding.shape) >= task.kept
        embedding.assign(np.where(closed, -1.0, 1.0))
    latent = tf.constant(random.normal(size=(16, generator.latent_dim)), tf.float32)
    generator.calibrate(latent)


def images(generator, task):
    noise = np.random.RandomState(task).normal(size=(3, generator.latent_dim)).astype(np.float32)
    classes = generator.finished[task - 1]
    own = tf.constant([classes - 1] * 3)
    return generator.recall(generator.latent(tf.constant(noise), own, classes), task)


def saved_and_loaded(generator, folder):
    """Through the files of a checkpoint into a generator that was not there before."""
    checkpoint.save(folder, {"generator": generator.get_config()}, generator_arrays(generator))
    meta, arrays = checkpoint.load(folder)
    return restored_generator(meta["generator"], arrays)


def masks_of(block):
    return [block.finished_mask(task) for task in range(1, len(block.finished) + 1)]


def union(block, masks):
    """m_acc by the definition: the element-wise maximum of masks of growing shapes."""
    whole = np.zeros(block.embedding.shape, np.float32)
    for mask in masks:
        corner = tuple(slice(size) for size in mask.shape)
        whole[corner] = np.maximum(whole[corner], mask)
    return whole


def gates(generator):
    """Eq. 4's m_acc per weight, from the masks alone; kernels are [k, k, units, inputs]."""
    found, below = [], None
    for block in generator.blocks:
        reserved = union(block, masks_of(block))
        if block.variant == "a":
            inputs = np.ones(block.inputs, np.float32) if below is None else below
            found.append(
                np.broadcast_to(np.minimum.outer(reserved, inputs), block.kernel.shape) > 0
            )
            below = reserved
        else:
            found.append(reserved > 0)
    return found


def lived(options, history, folder):
    """Goes through a history and checks what is promised at each of its tasks."""
    generator = Generator(name="g", **options)
    generator.build()
    start = [generator.capacity(layer, generator.widths) for layer in range(3)]
    remembered, reserved_before = [], [np.zeros(b.embedding.shape) for b in generator.blocks]
    for task in history:
        gated = gates(generator)
        before = [block.kernel.numpy() for block in generator.blocks]
        learn(generator, task)
        for fixed, old, block in zip(gated, before, generator.blocks, strict=True):
            new = block.kernel.numpy()
            assert (bits(new) == bits(old))[fixed].all(), "a gated weight moved"
            # Adam's first step is about the rate, whatever the gradient.
            assert (bits(new) != bits(old))[~fixed].all(), "a free weight was held"
        wanted = [block.embedding.numpy() >= 0 for block in generator.blocks]
        for block, mask in zip(generator.blocks, wanted, strict=True):
            assert np.array_equal(block.mask(), mask.astype(np.float32)), "no binary mask"
        generator = generator.finish_task(task.classes)
        for block, mask in zip(generator.blocks, wanted, strict=True):
            assert np.array_equal(block.finished_mask(len(block.finished)), mask)
        remembered.append(images(generator, len(generator.finished)))
        grown = generator.grown_widths()
        generator = generator.widen([a + b for a, b in zip(grown, task.wider, strict=True)])
        if task is history[-1]:
            generator = saved_and_loaded(generator, folder)
        for number, expected in enumerate(remembered, start=1):
            assert np.array_equal(bits(images(generator, number)), bits(expected)), number
        for layer, block in enumerate(generator.blocks):
            masks = masks_of(block)
            reserved = union(block, masks)
            assert np.array_equal(block.reserved.numpy(), reserved)
            former = reserved_before[layer]
            part = reserved[tuple(slice(size) for size in former.shape)]
            assert (part >= former).all(), "an accumulated mask lost a one"
            reserved_before[layer] = reserved
            free = reserved.size - int(reserved.sum())
            assert free >= start[layer], "less free than before task 1"


def typical(variant):
    """Three tasks that keep half of what they may, beyond the few examples of chance."""
    options = {
        "image_shape": (8, 8, 3), "widths": (4, 3, 2), "variant": variant, "latent_dim": 10,
        "seed": 1,
    }  # fmt: skip
    history = [
        Learnt(classes=classes, wider=wider, kept=0.5, seed=classes)
        for classes, wider in ((1, (0, 0, 0)), (2, (1, 0, 3)), (3, (0, 1, 0)))
    ]
    return example(options=options, history=history)


@BRIEF
@typical("w")
@typical("a")
@given(options=generators, history=histories)
def test_every_history_keeps_what_is_promised(tmp_path_factory, options, history):
    lived(options, history, tmp_path_factory.mktemp("saved") / "c")


@pytest.mark.slow
@LONG
@given(generators, st.lists(learnt, min_size=1, max_size=5))
def test_many_histories_keep_what_is_promised(tmp_path_factory, options, history):
    options = options | {"latent_dim": 16}
    lived(options, history, tmp_path_factory.mktemp("saved") / "c")
