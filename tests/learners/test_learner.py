"""What all learners share: their making, their budget, and what their classifier begins with."""

import itertools

import numpy as np
import pytest

import dgm_tf
from dgm_tf.errors import InputError
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.learner import FEWEST_STEPS
from dgm_tf.presets import settings_for
from dgm_tf.registry import METHODS, label_of, load_state, new_learner
from tests import tiny_run
from tests.serving import tiny_export
from tests.tiny_phases import Counted

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


def test_changes_of_settings_are_those_of_a_preset():
    settings = settings_for("digits")
    changed = DGM(settings, steps=2400).settings
    assert changed == settings_for("digits", steps=2400) and changed.epochs == 0
    assert DGM(settings, steps=2400, epochs=3).settings.epochs == 3
    assert DGM(settings, sparsity=1.0).settings == settings_for("digits", sparsity=1.0)
    with pytest.raises(InputError, match="method dgm has no setting stepz; it has augmentation"):
        DGM(settings, stepz=3)


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


@pytest.mark.parametrize("method", ["dgm", "fine_tune", "joint"])
def test_a_task_takes_the_steps_of_its_budget(method):
    stream, counted = tiny_export.stream(), Counted()
    sizes = SIZES if method == "joint" else SIZES | SMALL
    learner = new_learner(method, settings_for(None, method, **sizes, epochs=2), stream)
    task = next(iter(stream))
    learner.learn(task, callbacks=[counted])
    assert counted.steps == 2 * task.steps_per_epoch(5) + SIZES["consolidation_steps"]


def test_a_task_of_too_few_steps_is_said_in_a_line(caplog):
    enough = 2 * FEWEST_STEPS
    budget(steps=enough)
    budget(epochs=10_000, steps=enough)
    assert not caplog.records
    budget(epochs=1, steps=enough)  # fewer than the steps that the preset asks for
    budget(steps=FEWEST_STEPS // 3)  # fewer than any data need
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and all("raise epochs or steps" in line for line in lines)
    assert f"need about {2 * enough}" in lines[0] or f"need about {enough}" in lines[0]


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
