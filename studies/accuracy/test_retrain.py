"""A retrained classifier is the one that a whole run by its settings would have."""

import dataclasses

import numpy as np
import pytest

import dgm_tf
from dgm_tf.experiments.options import QUIET, RunOptions
from dgm_tf.experiments.run import Run
from dgm_tf.methods.registry import load_state
from dgm_tf.methods.settings import Recipe
from studies.accuracy import retrain
from studies.accuracy.retrain import Retrained

SMALL = {
    "epochs": 1,
    "batch_size": 16,
    "generator_size": 2,
    "critic_size": 2,
    "latent_dim": 16,
    "replay_buffer": 64,
    "replay_batch": 8,
    "consolidation_steps": 4,
}
OTHER = {
    "consolidation_start": "previous",
    "consolidation_steps": 6,
    "real_margins": 0.5,
    "augmentation": "photo",
}
SETTINGS = dgm_tf.DGMSettings(**SMALL)


def learnt(learner):
    """The learner's state after each of two tasks."""
    stream = dgm_tf.class_incremental("digits", classes_per_task=(2, 1, 7))
    states = []
    for task in stream.tasks():
        learner.learn(task, verbose=0)
        states.append(learner.state())
        if task.index == 2:
            return states


def test_it_ends_as_a_whole_run_would():
    run = learnt(dgm_tf.DGM(**SMALL))

    def generator_after(task):
        return load_state(*run[task - 1]).generator

    whole = learnt(dgm_tf.DGM(**SMALL | OTHER))
    settings = dataclasses.replace(SETTINGS, **OTHER)
    mine = learnt(Retrained(settings, generator_after))
    for (meta, arrays), (my_meta, my_arrays) in zip(whole, mine, strict=True):
        assert my_meta == meta and my_arrays.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(my_arrays[name], array, err_msg=name)
    before = run[-1][1]
    assert any(not np.array_equal(before[name], array) for name, array in my_arrays.items())


@pytest.mark.parametrize("wrong", [{"consolidation_start": "critic"}, {"consolidation_steps": 0}])
def test_no_run_keeps_a_critic_to_start_from(wrong):
    with pytest.raises(dgm_tf.InputError, match="a run keeps no critic"):
        Retrained(dataclasses.replace(SETTINGS, **wrong), lambda task: None)


def test_what_generated_images_depend_on_cannot_change():
    with pytest.raises(dgm_tf.InputError, match="depend on epochs, sparsity"):
        retrain.retrain("nowhere", {"sparsity": 0.1, "epochs": 2}, data_dir=None)


def test_changes_are_read_with_their_types():
    changes = retrain.read_changes("consolidation_steps=60,real_margins=1.0,replay=full")
    assert changes == {"consolidation_steps": 60, "real_margins": 1.0, "replay": "full"}


def test_the_names_are_those_of_settings():
    fields = {field.name for field in dataclasses.fields(dgm_tf.DGMSettings)}
    assert fields >= retrain.CLASSIFIER_SETTINGS
    constants = {field.name for field in dataclasses.fields(Recipe)}
    assert constants >= retrain.CLASSIFIER_CONSTANTS


def test_a_run_is_judged_on_its_held_out_images(tmp_path):
    """The same settings end with the same classifier; other constants with another."""
    stream = dgm_tf.class_incremental("digits", classes_per_task=(2, 8))
    learner = dgm_tf.DGM(**SMALL)
    options = RunOptions(run_dir=tmp_path, oracle=False, verbosity=QUIET)
    Run(stream, learner, options, max_tasks=1).run()
    held_out = stream.seen_validation(1)
    assert sum(len(labels) for _, labels in held_out) < 100
    accuracy = 100 * learner.evaluate(held_out).average_accuracy
    ((as_it_was, again),) = retrain.retrain(tmp_path, {"consolidation_steps": 4}, data_dir=None)
    assert as_it_was == again == accuracy
    ((_, other),) = retrain.retrain(tmp_path, {"consolidation_learning_rate": 1.0}, data_dir=None)
    assert other != accuracy
