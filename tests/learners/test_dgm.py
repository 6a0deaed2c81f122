"""DGM on real digits, tiny: what it learns, and above all what it keeps."""

import copy
import dataclasses
import gc
import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import func_graph

from dgm_tf.data.stream import class_incremental
from dgm_tf.data.task import TaskClosed
from dgm_tf.errors import InputError, MemoryChanged
from dgm_tf.layers import MaskedLayer
from dgm_tf.learners import losses
from dgm_tf.learners.adversarial import AdversarialPhase
from dgm_tf.learners.classifier_phase import ClassifierPhase
from dgm_tf.methods.registry import load_state
from dgm_tf.methods.settings import RECIPES, Recipe
from dgm_tf.networks import Critic, drawing
from tests import tiny_run
from tests.layers.layer_check import bits
from tests.learners.tiny_dgm import TASKS, TINY, digits, tiny
from tests.same_state import assert_same_arrays, assert_same_state
from tests.tiny_phases import BrokenOff, take_step

PHASES = (AdversarialPhase, ClassifierPhase)


def first_task():
    stream = digits()
    return stream, next(iter(stream))


def critic_of(phase):
    """The network that ends as the classifier."""
    return phase.networks().get("critic") or phase.networks()["classifier"]


def adversarial_phase(learner, task, epochs=1):
    steps = task.steps_per_epoch(learner.settings.batch_size)
    return learner.adversarial_phase(task, epochs=epochs, steps_per_epoch=steps)


class Watch(keras.callbacks.Callback):
    """What a user's callback can see of one `learn`, a row per phase."""

    def __init__(self, traces):
        super().__init__()
        self._traces = traces
        self.phases = []
        self.generator = None

    @property
    def adversarial(self):
        return self.phases[0]

    def on_train_begin(self, logs=None):
        self.generator = getattr(self.model, "generator", None) or self.generator
        optimizers = [
            value
            for value in vars(self.model).values()
            if isinstance(value, keras.optimizers.Optimizer)
        ]
        rates = [id(optimizer._learning_rate) for optimizer in optimizers]
        self.phases.append(
            {
                "params": dict(self.params),
                "optimizer_state": [
                    float(np.abs(np.float64(variable)).max(initial=0))
                    for optimizer in optimizers
                    for variable in optimizer.variables
                    if id(variable) not in rates
                ],
                "critic": [bits(weights) for weights in critic_of(self.model).get_weights()],
                "epochs": [],
                "logs": [],
                "traces": [],
                "furthest_embedding": 0.0,
            }
        )

    def on_train_batch_end(self, batch, logs=None):
        phase = self.phases[-1]
        phase["traces"].append(len(self._traces))
        if hasattr(self.model, "generator"):
            furthest = max(np.abs(e.numpy()).max() for e in self.model.generator.embeddings())
            phase["furthest_embedding"] = max(phase["furthest_embedding"], furthest)

    def on_epoch_end(self, epoch, logs=None):
        self.phases[-1]["epochs"].append(epoch)
        self.phases[-1]["logs"].append(dict(logs))


@dataclasses.dataclass
class Ended:
    """A learner at the end of one task."""

    task: object
    watch: Watch
    history: dict
    accuracy: float
    calibration: tuple | None  # the critic whose statistics were measured, and on which images
    images: dict  # class id -> bits of its images
    state: tuple
    growth: dict
    frozen: list  # per block: which weights were gated while the task was learnt
    kernels: list  # per block: (before, after) in the widths of that time
    reserved: list  # per block, after the task


def frozen_weights(generator):
    below, rows = None, []
    for block in generator.blocks:
        rows.append(block.reserved_weights(below).numpy())
        below = block.reserved
    return rows


def kernels(generator):
    return [block.kernel.numpy() for block in generator.blocks]


def images_of(learner):
    return {label: bits(learner.generate([label] * 5, seed=3)) for label in learner.classes_seen}


def learn_and_look(learner, stream, task, traces, calibrations):
    """Learns a task and keeps all that the tests ask about."""
    frozen, before = [], []
    if learner.finished_tasks:
        frozen, before = frozen_weights(learner.generator), kernels(learner.generator)
    watch = Watch(traces)
    calibrations.clear()
    history = learner.learn(task, callbacks=[watch])
    after = [
        new[tuple(slice(size) for size in old.shape)]
        for new, old in zip(kernels(learner.generator), before, strict=bool(before))
    ]
    return Ended(
        task=task,
        watch=watch,
        history=history,
        accuracy=learner.evaluate(stream.seen_test(task)).average_accuracy,
        calibration=calibrations[-1] if calibrations else None,
        images=images_of(learner),
        state=copy.deepcopy(learner.state()),
        growth=learner.growth(),
        frozen=frozen,
        kernels=list(zip(before, after, strict=True)),
        reserved=[block.reserved.numpy() for block in learner.generator.blocks],
    )


def followed(learner, count):
    """The learner, and its `Ended` after each of the tasks 1..`count`."""
    traces, calibrations, stream, calibrate = [], [], digits(), Critic.calibrate

    def calibrated(critic, images):
        calibrate(critic, images)
        calibrations.append((critic, np.array(images)))

    with pytest.MonkeyPatch.context() as patch:
        for kind in PHASES:
            original = kind.train_step

            def counted(self, data, original=original):
                traces.append(type(self))
                return original(self, data)

            patch.setattr(kind, "train_step", counted)
        patch.setattr(Critic, "calibrate", calibrated)
        ended = []
        for task in stream:
            ended.append(learn_and_look(learner, stream, task, traces, calibrations))
            if task.index == count:
                return learner, ended


@pytest.fixture(scope="module")
def run_w():
    return followed(tiny("w"), count=3)


@pytest.fixture(scope="module")
def run_a():
    return followed(tiny("a"), count=2)


def full():
    """The paper's way: replay per old class, batch norm in the critic, no consolidation."""
    return tiny("w", replay="full", recipe="paper", consolidation_steps=0, seed=1, epochs=2)


@pytest.fixture(scope="module")
def run_full():
    return followed(full(), count=2)


@pytest.fixture(scope="module")
def run_compiled():
    """Steps compiled by XLA."""
    return followed(tiny("w", jit_compile=True, seed=3, epochs=2, critic_size=4), count=2)


@pytest.fixture(params=["w", "a", "full", pytest.param("compiled", marks=pytest.mark.slow)])
def run(request):
    return request.getfixturevalue(f"run_{request.param}")


@pytest.fixture(params=["w", "a"])
def long_run(request):
    return request.getfixturevalue(f"run_{request.param}")


# Learning.


def test_a_critic_that_becomes_the_classifier_is_calibrated_on_all_classes_alike(run_full):
    learner, ended = run_full
    (_, first), (critic, second) = (row.calibration for row in ended)
    assert critic is learner.classifier
    assert (len(first), len(second)) == (2 * 512, 3 * 342)
    # The old classes' as they are drawn, in order of arrival; none is real.
    memory, images = learner.memory(), second.reshape(3, 342, 16, 16, 1)
    for position, found in enumerate(images):
        drawn = memory.recall(position, tf.random.stateless_normal([342, 16], [1, 2]))
        assert abs(found.mean() - np.mean(drawn)) < 0.05


def test_a_critic_without_batch_norm_has_nothing_to_calibrate(monkeypatch):
    monkeypatch.setattr(Critic, "calibrate", lambda critic, images: 1 / 0)
    tiny("w", consolidation_steps=0, epochs=1).learn(first_task()[1], verbose=0)


def test_it_learns_and_does_not_forget(long_run):
    learner, ended = long_run
    for row in ended:
        assert row.accuracy > 0.75, f"{row.task}: {row.accuracy}"
    # Labels are the data set's own, in order of arrival.
    seen = tuple(label for classes in TASKS[: len(ended)] for label in classes)
    assert learner.classes_seen == seen
    assert learner.finished_tasks == len(ended)


def test_it_answers_in_the_data_sets_class_ids(run_w):
    learner, ended = run_w
    images, labels = next(iter(digits().seen_test(3)))
    predicted = learner.classify(images)
    assert predicted.dtype == np.int32 and predicted.shape == labels.shape
    assert set(predicted.tolist()) <= {7, 0, 4, 1}
    assert np.mean(predicted == labels) > 0.75


def test_an_image_is_made_from_its_own_label_and_noise(run_w):
    learner, _ = run_w
    mixed = learner.generate(np.array([0, 1, 7, 4]), seed=2)
    assert mixed.shape == (4, 16, 16, 1) and mixed.dtype == np.float32
    assert np.abs(mixed).max() <= 1
    for row, label in enumerate([0, 1, 7, 4]):
        alone = learner.generate([label] * 4, seed=2)
        np.testing.assert_allclose(alone[row], mixed[row], atol=1e-5)
        assert np.any(alone[0] != alone[1])
    assert np.any(learner.generate([0, 1, 7, 4], seed=3) != mixed)


def test_generated_images_look_like_their_class(run_w):
    learner, _ = run_w
    real, labels = (np.concatenate(part) for part in zip(*digits().seen_test(3), strict=True))
    means = {label: real[labels == label].mean(axis=0) for label in (7, 0, 4, 1)}
    for label in means:
        made = learner.generate([label] * 64, seed=1).mean(axis=0)
        distances = {other: np.abs(made - mean).mean() for other, mean in means.items()}
        assert min(distances, key=distances.get) == label, distances


# DESIGN's invariants.


def test_images_of_finished_tasks_keep_every_bit(run):
    learner, ended = run
    for number, row in enumerate(ended):
        for later in ended[number:]:
            for label in row.images:
                np.testing.assert_array_equal(later.images[label], row.images[label])
    restored = load_state(*ended[-1].state)
    for label, expected in ended[-1].images.items():
        np.testing.assert_array_equal(bits(restored.generate([label] * 5, seed=3)), expected)


def test_gated_weights_keep_every_bit_through_a_whole_task(run):
    _, ended = run
    for row in ended[1:]:
        for frozen, (before, after) in zip(row.frozen, row.kernels, strict=True):
            np.testing.assert_array_equal(bits(after)[frozen], bits(before)[frozen])
        # The test would be empty if nothing had been gated, or nothing had been learnt.
        assert sum(frozen.sum() for frozen in row.frozen) > 0
        moved = [np.mean((b != a)[~f]) for f, (b, a) in zip(row.frozen, row.kernels, strict=True)]
        assert min(moved) > 0.5


def test_a_reserved_weight_that_moves_ends_the_task_and_nothing_is_lost(monkeypatch):
    learner = tiny_run.MovedDGM()
    for task in tiny_run.stream().tasks(last=1):
        learner.learn(task)
    before = learner.state()
    monkeypatch.setattr(MaskedLayer, "gate", lambda self, gradient, below=None: gradient)
    (task,) = itertools.islice(tiny_run.stream().tasks(start=2), 1)
    with pytest.raises(MemoryChanged, match="reserved weights of block_1"):
        learner.learn(task)
    assert_same_state(learner.state(), before)


def test_every_task_finds_the_free_capacity_of_the_first(run):
    _, ended = run
    for row in ended:
        for layer in row.growth["layers"]:
            assert layer["free"] >= layer["initial_free"]
            assert layer["reserved"] > 0
        assert row.growth["layer_widths"] == [layer["units"] for layer in row.growth["layers"]]
        assert row.growth["initial_layer_widths"] == [24, 12, 6]
        assert 0 < row.growth["free_fraction"] < 1
    sizes = [row.growth["generator_parameters"] for row in ended]
    assert sizes == sorted(sizes) and len(set(sizes)) == len(sizes)


def test_accumulated_masks_are_binary_and_only_gain_ones(run):
    _, ended = run
    for earlier, later in zip(ended, ended[1:], strict=False):
        for old, new in zip(earlier.reserved, later.reserved, strict=True):
            assert set(np.unique(new)) <= {0, 1}
            assert np.all(new[tuple(slice(size) for size in old.shape)] >= old)
            assert new.sum() > old.sum()


def test_the_seed_decides_every_weight(run_a, run_full):
    first = run_full[1][0].state[1]
    _, (again,) = followed(full(), count=1)
    assert_same_arrays(again.state[1], first)
    other = run_a[1][0].state[1]
    for path, array in first.items():
        if path.endswith("kernel") and path in other and other[path].shape == array.shape:
            assert np.all(other[path] != array), path
    critics = [run[1][0].watch.adversarial["critic"][0] for run in (run_a, run_full)]
    assert np.all(critics[0] != critics[1])


def test_a_tasks_statistics_are_those_of_its_own_images_under_its_binary_masks(run_w):
    # Training leaves averages over soft masks that have since moved.
    for row in run_w[1]:
        generator = row.watch.generator
        noise = np.random.RandomState(0).normal(size=(512, 16)).astype(np.float32)
        classes = len(row.task.classes)
        latent = generator.latent(noise, np.arange(512) % classes, classes)
        measured = [block.norm.moving_variance.numpy() for block in generator.blocks]
        generator.calibrate(latent)
        for before, block in zip(measured, generator.blocks, strict=True):
            np.testing.assert_allclose(before, block.norm.moving_variance, rtol=0.3)


# The task's frame.


def test_a_callback_sees_every_epoch(run):
    learner, ended = run
    for row in ended:
        steps = row.task.steps_per_epoch(32)
        epochs = learner.settings.epochs
        phase = row.watch.adversarial
        assert (phase["params"]["epochs"], phase["params"]["steps"]) == (epochs, steps)
        assert phase["epochs"] == list(range(epochs))
        assert len(phase["traces"]) == epochs * steps
        for name in ("critic_loss", "generator_loss", "mask_sparsity"):
            values = [float(logs[name]) for logs in phase["logs"]]
            assert np.all(np.isfinite(values))
            np.testing.assert_allclose(row.history[name], values)
        assert 0 < values[-1] < 1


def test_consolidation_takes_the_steps_asked_for(run_w, run_full):
    for row in run_w[1]:
        assert len(row.watch.phases) == 2
        assert len(row.watch.phases[1]["traces"]) == 42
    for row in run_full[1]:
        assert len(row.watch.phases) == 1


def test_consolidation_begins_with_the_critic_where_that_is_asked_for(monkeypatch):
    """At a rate of 0 it leaves its initial weights, which are not random ones."""
    monkeypatch.setitem(RECIPES, "still", Recipe(consolidation_learning_rate=0.0))
    _, task = first_task()
    learner = tiny(consolidation_start="critic", consolidation_steps=2, recipe="still", epochs=1)
    random = learner.new_critic(task.image_shape, 2)
    learner.learn(task)
    for variable, first in zip(
        learner.classifier.class_variables(), random.class_variables(), strict=True
    ):
        if "bias" not in variable.path:
            assert not np.array_equal(variable, first), variable.path


def test_nothing_is_traced_after_the_first_step(run):
    for row in run[1]:
        for phase in row.watch.phases:
            assert len(set(phase["traces"])) == 1


def test_every_task_begins_with_optimizers_that_have_no_past(run):
    for row in run[1]:
        for phase in row.watch.phases:
            assert len(phase["optimizer_state"]) > 10
            assert set(phase["optimizer_state"]) == {0.0}


def test_the_critic_is_new_for_every_task_and_has_a_logit_per_class_seen(run_w):
    learner, ended = run_w
    first, second = (row.watch.adversarial["critic"] for row in ended[:2])
    for one, other in zip(first, second, strict=True):
        if one.ndim == 4:
            assert np.all(one != other)
            if one.shape[0] == 5:  # a convolution's, of 25 inputs for each channel (He et al.)
                std = np.sqrt(2 / (25 * other.shape[2]))
                assert 0.8 * std < other.view(np.float32).std() < 1.2 * std
    heads = [row.state[1]["critic/class/kernel"].shape[-1] for row in ended]
    assert heads == [2, 3, 4]
    assert learner.classifier.classes == 4


# One step, seen from near.


def test_embeddings_are_kept_within_six():
    _, task = first_task()
    learner = tiny("w", learning_rate=50.0)
    phase = adversarial_phase(learner, task)
    take_step(phase, next(iter(task.batches(4, epochs=1, seed=0))))
    for embedding in phase.generator.embeddings():
        assert np.abs(embedding.numpy()).max() == 6.0


def recorded(monkeypatch, name, part):
    """The arguments with which a phase will call a part of an adversarial loss."""
    given, loss = [], losses.ADVERSARIAL[name]
    function = getattr(loss, part)

    def recording(*arguments):
        given.append(arguments)
        return function(*arguments)

    monkeypatch.setitem(losses.ADVERSARIAL, name, loss._replace(**{part: recording}))
    return given


@pytest.mark.parametrize(
    ("recipe", "fraction", "count"),
    [("paper", 1.0, 8), ("tuned", 0.25, 2), ("paper", 0.3, 3), ("tuned", 0.01, 1)],
)
def test_the_penalty_is_taken_of_a_fraction_of_the_images(recipe, fraction, count, monkeypatch):
    given = recorded(monkeypatch, RECIPES[recipe].adversarial_loss, "penalty")
    _, task = first_task()
    changes = {"recipe": recipe, "penalty_fraction": fraction, "batch_size": 8}
    phase = adversarial_phase(tiny("w", **changes), task)
    images, labels = next(iter(task.batches(8, epochs=1, seed=0)))
    take_step(phase, (images, labels))
    ((_, real, fake, mix),) = given
    np.testing.assert_array_equal(real, images)
    assert real.shape == fake.shape and not np.isin(fake, images.numpy()).all()
    assert mix.shape == (count,)


def test_a_generator_is_judged_next_to_the_real_images_of_its_step(monkeypatch):
    pairs = recorded(monkeypatch, "relativistic", "generator")
    _, task = first_task()
    phase = adversarial_phase(tiny("w", batch_size=8), task)
    images, labels = next(iter(task.batches(8, epochs=1, seed=0)))
    take_step(phase, (images, labels))
    ((real, fake),) = pairs
    np.testing.assert_allclose(real, phase.critic(images)[0], rtol=1e-4, atol=1e-5)
    assert real.shape == fake.shape and not np.allclose(real, fake)


def test_both_optimizers_forget_as_fast_as_the_recipe_says(monkeypatch):
    monkeypatch.setitem(RECIPES, "forgetful", Recipe(beta_1=0.25, beta_2=0.5))
    _, task = first_task()
    learner = tiny("w", recipe="forgetful")
    phase = adversarial_phase(learner, task)
    take_step(phase, next(iter(task.batches(4, epochs=1, seed=0))))
    # After one step the moments are (1 - beta_1) g and (1 - beta_2) g^2.
    for optimizer in phase._generator_optimizer, phase._critic_optimizer:
        moments = {"momentum": [], "velocity": []}
        for variable in optimizer.variables:
            for kind, found in moments.items():
                if kind in variable.path:
                    found.append(np.float64(variable).ravel())
        first, second = map(np.concatenate, moments.values())
        moved = second > 1e-20
        assert moved.mean() > 0.2
        np.testing.assert_allclose(first[moved] ** 2 / second[moved], 0.75**2 / 0.5, rtol=1e-3)


# Eq. 3 for I = B = 2: epochs' scales 1/100 and 100, each run from its inverse to itself. For I = 1
# of two epochs: one such run, then the steepest scale.
@pytest.mark.parametrize(
    ("fraction", "scales"),
    [(1.0, (100, 0.01, 0.01, 100)), (0.5, (0.01, 100, 100, 100)), (0.0, (100, 100, 100, 100))],
)
def test_the_masks_steepness_follows_the_step(fraction, scales, monkeypatch):
    monkeypatch.setitem(RECIPES, "annealed", Recipe(annealed_fraction=fraction))
    _, task = first_task()
    learner = tiny("w", learning_rate=0.0, s_max=100.0, recipe="annealed", batch_size=110)
    assert task.steps_per_epoch(110) == 2
    phase = adversarial_phase(learner, task, epochs=2)
    embeddings = np.random.RandomState(0)
    values = []
    for embedding in phase.generator.embeddings():
        embedding.assign(embeddings.uniform(-0.5, 1, embedding.shape))
        values.append(np.float64(embedding).ravel())
    values = np.concatenate(values)
    expected = [np.mean(1 / (1 + np.exp(-s * values))) for s in scales]
    logged, losses = [], []
    for batch in task.batches(4, epochs=1, seed=0).take(4):
        logs = take_step(phase, batch)
        logged.append(logs["mask_sparsity"])
        losses.append(logs["generator_loss"])
    running = np.cumsum(expected) / np.arange(1, 5)
    np.testing.assert_allclose(logged, running, rtol=1e-4)
    assert len(set(losses)) == 4  # other noise in each step


@pytest.mark.parametrize("recipe, rates", [("tuned", [1, 0.5, 0]), ("paper", [1, 1, 1])])
def test_rates_fall_to_zero_over_a_task_in_our_recipe_and_not_in_the_papers(recipe, rates):
    _, task = first_task()
    learner = tiny(recipe=recipe, learning_rate=2e-3, critic_learning_rate=1e-3)
    phase = adversarial_phase(learner, task, epochs=4)
    steps = 4 * task.steps_per_epoch(TINY["batch_size"])
    for optimizer, first in [
        (phase._generator_optimizer, 2e-3),
        (phase._critic_optimizer, 1e-3),
    ]:
        found = []
        for step in (0, steps // 2, steps):
            optimizer.iterations.assign(step)
            found.append(float(optimizer.learning_rate))
        np.testing.assert_allclose(found, np.multiply(rates, first), atol=1e-9)


def test_sparsity_pulls_free_masks_alone_and_as_hard_as_in_a_small_network(run_w, monkeypatch):
    meta, arrays = run_w[1][1].state
    strength = 1e9  # beside which the other losses are nothing
    changed = {"sparsity": strength}
    learner = load_state({**meta, "settings": {**meta["settings"], **changed}}, arrays)
    seen = {}

    def kept(self, gradient, mask, *, s_max_i):
        seen[self.embedding.path] = gradient.numpy()
        return gradient

    monkeypatch.setattr(MaskedLayer, "embedding_gradient", kept)
    stream = digits()
    task = next(stream.tasks(start=3))
    phase = adversarial_phase(learner, task)
    take_step(phase, next(iter(task.batches(4, epochs=1, seed=0))))
    reserved = [block.reserved.numpy() > 0 for block in learner.generator.blocks]
    free = sum((~mask).sum() for mask in reserved)
    expected = (
        strength * learner.generator.relative_size() / free
    )  # the slope of Eq. 5 by each free mask
    for block, mask in zip(learner.generator.blocks, reserved, strict=True):
        gradient = seen[block.embedding.path]
        np.testing.assert_allclose(gradient[~mask], expected, rtol=1e-3)
        assert np.abs(gradient[mask]).max() < 1e-3 * expected


# What cannot be.


def test_nothing_can_be_asked_before_anything_is_learnt():
    for ask in (
        lambda: tiny().classify(np.zeros([1, 16, 16, 1], np.float32)),
        lambda: tiny().growth(),
        lambda: tiny().state(),
        lambda: tiny().generate([0]),
    ):
        with pytest.raises(InputError, match="call learn"):
            ask()


def test_a_class_not_yet_learnt_cannot_be_generated(run_w):
    with pytest.raises(InputError, match="class -1 has not been learnt; known are 7, 0, 4, 1"):
        run_w[0].generate([0, 5, -1])


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({}, InputError, "already learnt: 7, 0"),
        ({"batch_size": 1000}, InputError, "a batch must not be larger than a class"),
        (
            {"latent_dim": 2},
            InputError,
            "latent_dim must be larger than the number of a task's classes",
        ),
    ],
)
def test_a_task_that_cannot_be_learnt_is_refused_and_leaves_no_trace(
    run_w, changes, error, message
):
    meta, arrays = run_w[1][1].state
    if "latent_dim" in changes:
        learner = tiny(**changes, epochs=1)
        stream = class_incremental("digits", classes_per_task=5)
        task = next(iter(stream))
    else:
        learner = load_state({**meta, "settings": {**meta["settings"], **changes}}, arrays)
        stream = digits()
        task = next(stream.tasks(start=3 if changes else 1))
    finished = learner.finished_tasks
    with pytest.raises(error, match=message) as caught:
        learner.learn(task)
    assert "\n" not in str(caught.value)
    assert learner.finished_tasks == finished
    if finished:
        np.testing.assert_equal(learner.state()[1], arrays)


def test_a_task_that_was_broken_off_in_a_loaded_learner_is_learnt_as_if_nothing_had_been(run_w):
    _, before, after = run_w[1]
    meta, arrays = before.state
    learner = load_state(json.loads(json.dumps(meta)), arrays)
    task = next(digits().tasks(start=3))
    with pytest.raises(KeyboardInterrupt):
        learner.learn(task, callbacks=[BrokenOff("consolidation")])
    assert_same_state(learner.state(), before.state)
    assert learner.classes_seen == (7, 0, 4)
    history = learner.learn(task)
    assert_same_state(learner.state(), after.state)
    assert history == after.history


def test_a_finished_tasks_images_cannot_be_learnt():
    stream = digits()
    tasks = iter(stream)
    closed = next(tasks)
    next(tasks)
    with pytest.raises(TaskClosed):
        tiny().learn(closed)


def test_a_state_with_something_missing_is_refused(run_w):
    meta, arrays = run_w[1][0].state
    path = next(path for path in arrays if path.endswith("affine"))
    with pytest.raises(InputError, match=f"must hold an array {path}"):
        load_state(meta, {name: value for name, value in arrays.items() if name != path})


def test_a_finished_task_leaves_no_graph_in_memory():
    def graphs():
        drawing._traced.cache_clear()  # the one graph of all finished tasks
        gc.collect()
        return sum(isinstance(thing, func_graph.FuncGraph) for thing in gc.get_objects())

    before = graphs()
    learner = tiny(epochs=1, consolidation_steps=1)
    for task in itertools.islice(digits(), 2):
        learner.learn(task)
    assert graphs() == before


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"variant": "w"}, {"variant": "a", "replay": "full"}])
def test_a_task_makes_no_more_graphs_than_the_tasks_before(monkeypatch, changes):
    """Replay, recall and evaluation have graphs for all finished tasks, not for each."""
    made = []
    trace = func_graph.func_graph_from_py_func

    def counted(*arguments, **options):
        graph = trace(*arguments, **options)
        made.append(len(graph.get_operations()))
        return graph

    monkeypatch.setattr(func_graph, "func_graph_from_py_func", counted)
    learner = tiny(epochs=1, consolidation_steps=1, **changes)
    stream, operations = class_incremental("digits"), []
    for task in itertools.islice(stream, 4):
        made.clear()
        learner.learn(task)
        learner.evaluate(stream.seen_test(task))
        operations.append((len(made), sum(made)))
    # The third task is the first with two finished ones.
    assert operations[3] == operations[2], operations
    assert operations[2][0] == operations[1][0] > 3, operations


def test_masks_move_in_a_task_of_one_epoch():
    _, task = first_task()
    phase = adversarial_phase(tiny(batch_size=8), task)
    signs = []
    for batch in task.batches(8, epochs=1, seed=0):
        take_step(phase, batch)
        signs.append([each.numpy() >= 0 for each in phase.generator.embeddings()])
    moved = [np.any(first != last) for first, last in zip(signs[0], signs[-1], strict=True)]
    assert all(moved)


def test_a_penalty_fraction_of_0_is_no_penalty():
    _, task = first_task()
    batch = next(iter(task.batches(32, epochs=1, seed=0)))
    found = {
        name: take_step(adversarial_phase(tiny(**{name: 0}), task), batch)
        for name in ("penalty_fraction", "penalty_weight")
    }
    assert found["penalty_fraction"].pop("penalty") == 0
    assert found["penalty_weight"].pop("penalty") > 0
    assert found["penalty_fraction"] == found["penalty_weight"]
