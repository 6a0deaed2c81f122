"""The method's promises over random small nets, variants, splits of classes and growth sequences.

A history is a sequence of tasks; each is learnt by updates through the real gate and a real, fresh
Adam, finished, and grown as a run grows or wider. What is promised of all histories is checked on
each: images, weights, free capacity, masks, and that a closed task hands out nothing.
"""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from dgm_tf.data.datasets import from_arrays
from dgm_tf.data.stream import class_incremental
from dgm_tf.data.task import TaskClosed
from dgm_tf.layers import MaskedConv2D, MaskedConv2DTranspose, MaskedDense
from dgm_tf.learners.phase import new_adam
from dgm_tf.networks import Generator
from dgm_tf.networks.generator_state import generator_arrays, restored_generator
from dgm_tf.storage import checkpoint
from tests.layers.layer_check import copy_numbers

# Building and running small networks takes most of an example's time: few examples by default.
_COMMON = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "phases": (Phase.explicit, Phase.generate),  # to make a failing example small takes minutes
    "suppress_health_check": list(HealthCheck),
}
BRIEF = settings(max_examples=6, **_COMMON)
SEVERAL = settings(max_examples=15, **_COMMON)
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


def bits(array):
    return np.asarray(array, np.float32).view(np.uint32)


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


# Layers by themselves, as a Keras user has them.

LAYERS = {
    "dense": (MaskedDense, {}, (5, 3)),
    "convolution": (MaskedConv2D, {"kernel_size": 3, "strides": 2}, (4, 5, 5, 3)),
    "transposed": (MaskedConv2DTranspose, {"kernel_size": 4, "strides": 2}, (4, 3, 3, 3)),
}


@SEVERAL
@given(
    kind=st.sampled_from(sorted(LAYERS)),
    variant=st.sampled_from("wa"),
    normalize=st.booleans(),
    activation=st.sampled_from([None, "relu", "sigmoid"]),
    units=st.integers(1, 5),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**16)), min_size=2, max_size=3),
)
def test_a_layer_keeps_what_its_finished_tasks_put_out(
    kind, variant, normalize, activation, units, steps
):
    layer_class, options, shape = LAYERS[kind]
    data = tf.constant(np.random.RandomState(0).normal(size=shape), tf.float32)
    layer = layer_class(
        units, variant=variant, normalize=normalize, activation=activation, **options
    )
    layer.build((None, *shape[1:]))
    expected = []
    for added, seed in steps:
        random = np.random.RandomState(seed)
        held = union(layer, masks_of(layer)) > 0
        gate = (
            held
            if variant == "w"
            else np.moveaxis(
                np.broadcast_to(held, np.moveaxis(layer.kernel.numpy(), layer._out_axis, -1).shape),
                -1,
                layer._out_axis,
            )
        )
        before = layer.kernel.numpy()
        optimizer = new_adam(0.05, [layer.kernel])
        for _ in range(2):
            gradient = tf.constant(random.normal(size=before.shape), tf.float32)
            optimizer.apply([layer.gate(gradient)], [layer.kernel])
        after = layer.kernel.numpy()
        assert (bits(after) == bits(before))[gate].all()
        assert (bits(after) != bits(before))[~gate].all()
        layer.embedding.assign(random.uniform(-1, 1, layer.embedding.shape))
        layer(data, training=True)
        layer = layer.finish_task()
        expected.append(layer(data, task=len(layer.finished)).numpy())
        layer = layer.widen(units=layer.units + added)
        twin = layer_class.from_config(layer.get_config())
        twin.build((None, *shape[1:]))
        copy_numbers(layer, twin)
        for task, outputs in enumerate(expected, start=1):
            for one in (layer, twin):
                assert np.array_equal(bits(one(data, task=task)), bits(outputs))


# Streams: who may read what.


@st.composite
def cut_streams(draw):
    """Counts of images per class, an order of arrival and a cut into tasks."""
    counts = draw(st.lists(st.integers(3, 6), min_size=2, max_size=5))
    order = draw(st.permutations(range(len(counts))))
    sizes, left = [], len(counts)
    while left:
        sizes.append(draw(st.integers(1, left)))
        left -= sizes[-1]
    return counts, tuple(order), tuple(sizes), draw(st.integers(0, 99))


@SEVERAL
@given(cut_streams())
def test_a_closed_task_hands_out_nothing_and_an_open_one_its_own(cut):
    counts, order, sizes, seed = cut
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.broadcast_to((40 * labels + 20)[:, None, None, None], (len(labels), 16, 16, 1))
    images = images.astype(np.uint8)
    data = from_arrays(images, labels, test_images=images, test_labels=labels)
    stream = class_incremental(
        data,
        classes_per_task=sizes,
        class_order=order,
        image_size=16,
        validation_fraction=0.3,
        seed=seed,
    )
    assert [label for task in stream.task_classes for label in task] == list(order)
    closed, arrived = [], []
    for task in stream:
        for old, batches in closed:
            for read in (
                lambda old=old: next(iter(old.batches(1, epochs=1, seed=0))),
                lambda old=old: next(iter(old.validation())),
                lambda batches=batches: next(iter(batches)),
            ):
                with pytest.raises(TaskClosed):
                    read()
            assert not old.is_open
        arrived += task.classes
        batches = task.batches(1, epochs=1, seed=seed)
        found = [(float(image[0, 0, 0, 0]), int(label[0])) for image, label in batches]
        assert {label for _, label in found} == set(task.classes)
        # The image is its label's, and no other class's.
        assert all(round((pixel + 1) * 127.5) == 40 * label + 20 for pixel, label in found)
        tested = {int(label) for _, batch in stream.seen_test(task) for label in batch}
        assert tested == set(arrived)
        closed.append((task, batches))
