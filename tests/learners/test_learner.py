"""What all learners share: their making, their budget, and what their classifier begins with."""

import copy
import dataclasses
import itertools
import pickle

import keras
import numpy as np
import pytest

import dgm_tf
from dgm_tf.data.stream import class_incremental
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.learners.classifier_learner import FEWEST_STEPS
from dgm_tf.learners.dgm import DGM
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.registry import METHODS, label_of, load_state, new_learner
from tests import tiny_run
from tests.refusals import refused
from tests.same_state import assert_same_state
from tests.serving import tiny_export
from tests.tiny_phases import Counted, TinyLearner

SIZES = {"batch_size": 5, "critic_size": 2, "consolidation_steps": 1}
SMALL = {"generator_size": 2, "latent_dim": 8, "replay_buffer": 16}
SPREADS = {"paper": 0.02, "tuned": np.sqrt(2 / 25)}  # of kernels of 25 inputs (He et al. 2015)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_made_in_one_way(method):
    learner = new_learner(method, settings_for("digits", method), stream=None)
    assert learner.method == method and learner.finished_tasks == 0
    assert type(learner.settings) is METHODS[method].settings


def test_a_learners_label_names_its_variant():
    assert label_of("dgm-a") == "DGMa" and label_of("mergan_ra") == "MeRGAN-RA"
    assert label_of("somebody's") == "somebody's"


def test_a_preset_is_reached_from_the_class():
    model = dgm_tf.DGM.from_preset("digits", variant="a", seed=3)
    assert model.settings == settings_for("digits", variant="a", seed=3)
    assert DGM(variant="a").settings == settings_for(None, variant="a")
    with pytest.raises(InputError, match="did you mean 'digits'"):
        dgm_tf.DGM.from_preset("digitz")


def test_a_preset_takes_what_the_constructor_takes_and_nothing_else():
    class Plain(dgm_tf.NearestMean):
        def __init__(self, settings=None):
            super().__init__(settings)

    assert Plain.from_preset("digits", seed=3).settings.seed == 3
    stream = class_incremental("digits")
    assert dgm_tf.JointClassifier.from_preset("digits", stream=stream)._stream is stream
    for learner, name in (
        (Plain, "stepz"), (Plain, "classifier"), (dgm_tf.DGM, "stream"), (dgm_tf.EWC, "settings"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"method .* has no setting {name}; it has"):
            learner.from_preset("digits", **{name: 1})


def test_devices_that_cannot_share_a_step_are_refused_before_training():
    two = distribution.Distribution()
    two.replicas = 2
    task = next(class_incremental("digits").tasks())
    with distribution.used(two), pytest.raises(InputError, match="replay_batch is 3, which 2"):
        dgm_tf.DGM(replay_batch=3).learn(task)


def test_changes_of_settings_are_those_of_a_preset():
    settings = settings_for("digits")
    changed = DGM(settings, steps=2400).settings
    assert changed == settings_for("digits", steps=2400) and changed.epochs == 0
    assert DGM(settings, steps=2400, epochs=3).settings.epochs == 3
    assert DGM(settings, sparsity=1.0).settings == settings_for("digits", sparsity=1.0)
    with pytest.raises(InputError, match="method dgm has no setting stepz; it has augmentation"):
        DGM(settings, stepz=3)


@pytest.mark.parametrize("callbacks", ["x", [1], [keras.callbacks.Callback]])
def test_what_is_no_callback_is_refused_before_training(callbacks):
    learner, task = DGM(steps=2), next(iter(tiny_run.stream()))
    with pytest.raises(InputError, match="expected Keras callbacks, received"):
        learner.learn(task, callbacks=callbacks)
    assert not learner.finished_tasks


@pytest.mark.parametrize("method", ["joint", "experience_replay"])
def test_a_first_class_alone_takes_no_steps(method):
    stream, counted = tiny_run.stream(), Counted()
    learner = new_learner(method, settings_for(None, method, **SIZES, epochs=2), stream)
    tasks = iter(stream)
    assert learner.learn(next(tasks), callbacks=[counted]) == {} and counted.steps == 0
    learner.learn(next(tasks), callbacks=[counted])
    assert counted.steps > 0 and learner.classes_seen == (0, 1, 2)


@pytest.mark.parametrize(
    "meta, message",
    [
        ({}, "is of the method 'None'.*it has dgm, joint"),
        ({"method": "x"}, "is of the method 'x'"),
        ({"method": [1]}, r"is of the method '\[1\]'"),
        ({"method": "dgm"}, "is not that of such a learner"),
    ],
)
def test_a_state_of_no_method_is_refused(meta, message):
    with pytest.raises(InputError, match=f"the saved state {message}"):
        load_state(meta, {})


@pytest.mark.parametrize("method", ["dgm", "joint", "mergan_ra"])
@pytest.mark.parametrize("recipe", SPREADS)
def test_critics_begin_with_the_weights_of_the_recipe(method, recipe):
    learner = new_learner(method, settings_for(None, method, recipe=recipe, critic_size=64))
    spread = learner.new_critic((16, 16, 1), 2).convolutions[0].kernel.numpy().std()
    assert spread == pytest.approx(SPREADS[recipe], rel=0.1)
    if method == "mergan_ra":  # the critic that its generator learns from is the papers'
        _, critic = learner._first_networks((16, 16, 1), 2)
        assert critic.convolutions[0].kernel.numpy().std() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("start", ["new", "previous"])
def test_a_classifier_starts_warm_or_with_random_weights(start):
    model = DGM(**SIZES, **SMALL, consolidation_start=start)
    first, second, *_ = tiny_export.stream()
    model.task_learnt(first, model.new_critic(first.image_shape, len(first.classes)))
    before = model.classifier.get_weights()
    random = model.new_critic(second.image_shape, len(model.classes_with(second))).get_weights()
    after = model.initial_classifier(second).get_weights()
    assert after[-1].shape > before[-1].shape
    if start == "new":
        for weight, its in zip(after, random, strict=True):
            np.testing.assert_array_equal(weight, its)
        return
    assert not np.array_equal(after[0], random[0])
    for weight, its in zip(after, before, strict=True):
        np.testing.assert_array_equal(weight[tuple(map(slice, its.shape))], its)


# The budget.


def budget(**changes):
    """Passes, batches in one, and classes of the first task."""
    task = next(iter(tiny_export.stream()))
    found = DGM(**SIZES, **SMALL, **changes).budget(task)
    return found["epochs"], found["steps_per_epoch"], len(task.classes)


def test_a_budget_counts_steps_for_each_class_in_whole_passes():
    passes, per_pass, classes = budget(steps=2 * 7)
    assert (passes - 1) * per_pass < 14 * classes <= passes * per_pass
    assert budget(epochs=2, steps=10_000)[0] == 2  # as asked for


def test_a_task_takes_the_steps_of_its_budget():
    stream, counted = tiny_export.stream(), Counted()
    learner = dgm_tf.FineTune(**SIZES, **SMALL, epochs=2)
    task = next(iter(stream))
    learner.learn(task, callbacks=[counted])
    assert counted.steps == 2 * task.steps_per_epoch(5) + SIZES["consolidation_steps"]


def test_a_task_of_too_few_steps_is_said_in_a_line(caplog):
    preset = FEWEST_STEPS // 2  # enough for the data set of a preset that counts epochs
    budget(steps=FEWEST_STEPS)
    _, per_pass, classes = budget(epochs=10_000, steps=2 * FEWEST_STEPS)
    budget(epochs=-(-classes * preset // per_pass), steps=preset)
    assert not caplog.records
    budget(epochs=1, steps=preset)
    budget(epochs=1, steps=2 * FEWEST_STEPS)
    budget(steps=FEWEST_STEPS // 3)
    lines = [record.getMessage() for record in caplog.records]
    for line, wanted in zip(lines, (preset, FEWEST_STEPS, FEWEST_STEPS), strict=True):
        assert f"need about {classes * wanted} to be learnt: raise epochs or steps" in line


@pytest.mark.parametrize("method", ["dgm", "fine_tune"])
def test_a_generator_learns_from_at_least_two_images_at_a_time(method):
    with pytest.raises(InputError, match="batch_size must be an integer of at least 2"):
        settings_for(None, method, batch_size=1)


def test_a_state_is_taken_over_in_place_of_what_was_learnt():
    model, other = tiny_run.MovedDGM(), tiny_run.MovedDGM(seed=9)
    for task in itertools.islice(tiny_run.stream(), 2):
        model.learn(task)
        if task.index == 1:
            (first,) = task.classes
            other.learn(task)
    test = np.random.default_rng(0).uniform(-1, 1, [20, 16, 16, 1])
    before = model.generate([first] * 3)
    assert set(model.classify(test)) - {first}  # graphs of two tasks, which must not stay
    model.load(*other.state())
    assert model.finished_tasks == 1 and set(model.classify(test)) == {first}
    after = model.generate([first] * 3)
    np.testing.assert_array_equal(after, other.generate([first] * 3))
    assert np.any(after != before)
    with pytest.raises(InputError, match="has not been learnt"):
        model.generate([task.classes[0]])


@pytest.mark.parametrize("given", ["digits", {"steps": 3}, settings_for("digits", "ewc")])
def test_what_are_no_settings_is_refused_at_once(given):
    with pytest.raises(InputError, match=r"expected settings, a DGMSettings; .*from_preset"):
        DGM(given)


def test_settings_that_a_task_depends_on_cannot_change():
    model = tiny_run.MovedDGM()
    model.settings = dataclasses.replace(model.settings, generator_size=3)
    model.learn(next(iter(tiny_run.stream())))
    before = model.settings
    for changes in ({"variant": "a"}, {"generator_size": 9}, {"seed": 5}):
        (name,) = changes
        with pytest.raises(InputError, match=f"^{name} cannot change once a task has been learnt"):
            model.settings = dataclasses.replace(before, **changes)
    with pytest.raises(InputError, match="expected settings, a DGMSettings; received None"):
        model.settings = None
    assert model.settings is before
    model.settings = dataclasses.replace(before, steps=7)
    assert model.settings.steps == 7


def test_a_deep_copy_learns_apart():
    model, tasks = tiny_run.MovedDGM(), iter(tiny_run.stream())
    model.learn(next(tasks))
    images = np.zeros([1, 16, 16, 1])
    model.predict(images)
    before, images_before = model.state(), model.generate([0])
    trial = copy.deepcopy(model)
    trial.learn(next(tasks))
    assert trial.finished_tasks == 2 and trial.predict(images).shape == (1, 3)
    assert model.finished_tasks == 1 and model.predict(images).shape == (1, 1)
    assert_same_state(model.state(), before)
    np.testing.assert_array_equal(model.generate([0]), images_before)


@pytest.mark.parametrize("make", [tiny_run.MovedDGM, tiny_run.MovedFineTune])
def test_a_learner_that_has_been_used_can_be_pickled(make):
    model = make()
    model.learn(next(tiny_run.stream().tasks()))
    images = np.random.default_rng(0).integers(0, 256, [3, 16, 16, 1]).astype(np.uint8)
    found, drawn = model.predict(images), model.generate([0])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(images), found)
    np.testing.assert_array_equal(again.generate([0]), drawn)
    assert again.audit() == {1: True}


def test_a_pickle_of_joint_training_leaves_the_images_behind():
    stream = tiny_run.stream()
    model = dgm_tf.JointClassifier(stream=stream, steps=1, **SIZES)
    task = next(stream.tasks())
    model.learn(task, verbose=0)
    images = np.zeros([2, 16, 16, 1], np.uint8)
    found = model.predict(images)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(images), found)
    assert again._stream is None and copy.copy(model)._stream is stream


def test_names_are_those_of_the_classes_while_a_task_ends():
    images = np.random.default_rng(0).integers(0, 256, [4, 16, 16, 1]).astype(np.uint8)

    class Between(dgm_tf.NearestMean):
        ends = False

        @property
        def classes_seen(self):
            found = super().classes_seen
            if self.ends:
                self.ends = False
                self.learn((images[2:], ["c", "d"]), verbose=0)
            return found

    model = Between()
    model.learn((images[:2], ["a", "b"]), verbose=0)
    model.ends = True
    assert model.evaluate(images[:2], ["a", "b"]).test_images == {0: 1, 1: 1}
    assert model.class_names == ("a", "b", "c", "d")


def test_the_second_of_two_tasks_at_once_is_refused(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, [4, 16, 16, 1]).astype(np.uint8)
    model, own = dgm_tf.NearestMean(), dgm_tf.NearestMean.learn_task

    def meanwhile(self, task, *, callbacks=()):
        monkeypatch.setattr(dgm_tf.NearestMean, "learn_task", own)
        model.learn((images[2:], ["c", "d"]), verbose=0)
        return own(self, task)

    monkeypatch.setattr(dgm_tf.NearestMean, "learn_task", meanwhile)
    with refused("another thread has taught this learner", "classes a, b", "one task at a time"):
        model.learn((images[:2], ["a", "b"]), verbose=0)
    assert model.class_names == ("c", "d")


def test_callbacks_are_taken_as_keras_takes_them():
    steps = []
    for callbacks in (None, Counted(), (Counted(),)):
        given = callbacks[0] if isinstance(callbacks, tuple) else callbacks
        TinyLearner().learn(next(tiny_run.stream().tasks()), callbacks=callbacks, verbose=0)
        steps.append(given.steps if given else 0)
    assert steps[0] == 0 < steps[1] == steps[2]


def test_predictions_wait_for_no_task_and_are_those_before_or_after_it(monkeypatch):
    """A task ends between two parts of one prediction."""
    model = dgm_tf.NearestMean()
    images = np.random.default_rng(0).integers(0, 256, [4, 16, 16, 1]).astype(np.uint8)
    model.learn((images[:2], ["a", "b"]), verbose=0)
    asked = []

    def answer(self, batch, own=dgm_tf.NearestMean.probabilities):
        asked.append(len(batch))
        found = own(self, batch)
        if len(asked) == 1:
            model.learn((images[2:], ["c", "d"]), verbose=0)
        return found

    monkeypatch.setattr(dgm_tf.NearestMean, "probabilities", answer)
    many = np.resize(images, [300, 16, 16, 1])
    assert model.predict(many).shape == (300, 4)
    assert asked == [256, 256, 44]


def test_a_graph_traced_while_a_task_ends_is_not_that_of_the_next():
    model, tasks = tiny_run.MovedDGM(), iter(tiny_run.stream())
    model.learn(next(tasks))
    earlier = copy.copy(model)
    model.learn(next(tasks))
    images = np.zeros([1, 16, 16, 1], np.float32)
    assert earlier.probabilities(images).shape == (1, 1)
    assert model.probabilities(images).shape == (1, 3)
