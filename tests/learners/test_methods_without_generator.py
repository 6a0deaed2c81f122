"""The methods without a generator: nearest mean, experience replay, and one registered by hand."""

import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf

import dgm_tf
from dgm_tf.data.own_data import task_of
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.experiments import open_memory
from dgm_tf.experiments.options import LearnOptions, RunOptions, SettingsOptions, StreamOptions
from dgm_tf.experiments.run import prepare
from dgm_tf.experiments.run_audit import audit_run
from dgm_tf.learners.experience_replay import ExperienceReplay, StoredReplay
from dgm_tf.learners.nearest_mean import NearestMean
from dgm_tf.methods import presets, registry
from dgm_tf.methods.presets import TUNED
from dgm_tf.methods.registry import METHODS, is_private, load_state, register_method
from dgm_tf.runs.run_folder import RunFolder
from studies import results
from tests.class_folders import write
from tests.refusals import refused
from tests.same_state import assert_same_state
from tests.tiny_run import MovedDGM, run, stream

SMALL = {
    "batch_size": 4, "critic_size": 2, "epochs": 2, "consolidation_steps": 6, "buffer_bytes": 3000
}  # fmt: skip
MAKERS = {"nearest_mean": lambda: NearestMean(batch_size=4), "experience_replay": lambda: replay()}
methods = pytest.mark.parametrize("method", MAKERS)


def replay(**changes):
    return ExperienceReplay(**{**SMALL, **changes})


def taught(model, tasks=3, source=None):
    source = source or stream()
    for task in source.tasks():
        model.learn(task)
        if task.index == tasks:
            return model


def real_images(label, source=None):
    """All training images of a class float32 [N, S, S, C], in no order."""
    source = source or stream()
    for task in source.tasks():
        if label in task.classes:
            pairs = list(task.batches(1, epochs=1, seed=0).unbatch().as_numpy_iterator())
            return np.stack([image for image, its in pairs if its == label])


# Nearest mean.


def test_means_are_those_of_all_images_of_a_class():
    model = taught(NearestMean(batch_size=4))  # which divides no task's images
    for position, label in enumerate(model.classes_seen):
        expected = real_images(label).astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(model._means[position], expected, atol=1e-6)


def test_the_nearest_mean_decides_and_its_probabilities_are_gaussian():
    model = taught(NearestMean(batch_size=4))
    images = np.random.default_rng(0).uniform(-1, 1, (9, 16, 16, 1)).astype(np.float32)
    distances = np.array([[((x - m) ** 2).sum() for m in model._means] for x in np.float64(images)])
    expected = np.exp(-0.5 * (distances - distances.min(axis=1, keepdims=True)))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(images), expected, rtol=1e-3, atol=1e-6)
    nearest = np.asarray(model.classes_seen)[distances.argmin(axis=1)]
    np.testing.assert_array_equal(model.classify(images), nearest)


def test_it_reaches_what_a_new_user_reached_on_the_digits():
    source = dgm_tf.class_incremental("digits")
    model = taught(NearestMean.from_preset("digits"), 10, source)
    assert 0.85 < model.evaluate(source.seen_test(10)).average_accuracy < 0.9


# Experience replay.


@pytest.fixture(scope="module")
def replayed():
    return taught(replay())


def test_the_buffer_holds_real_images_of_each_class_alike_and_no_more_bytes(replayed):
    images, counts = replayed._images, replayed._counts
    assert counts == [3000 // (4 * 256)] * 4 and images.nbytes <= 3000
    for label, part in zip(replayed.classes_seen, np.split(images, 4), strict=True):
        found = np.uint8(np.round((real_images(label) + 1) * 127.5)).tolist()
        assert all(image in found for image in part.tolist())
        assert len({image.tobytes() for image in part}) == len(part)


def test_a_class_gives_up_images_as_others_come(replayed):
    before = taught(replay(), tasks=1)
    assert before._counts == [10]  # all there are
    np.testing.assert_array_equal(replayed._images[:2], before._images[:2])


def test_a_buffer_too_small_for_an_image_of_each_class_is_refused_before_training():
    model = taught(replay(buffer_bytes=256 * 2), tasks=1)
    with refused("buffer_bytes", "3 classes of 256 bytes", "512"):
        model.learn(next(stream().tasks(start=2)))


def test_each_class_is_as_likely_however_many_images_it_has():
    images = np.arange(11, dtype=np.uint8)[:, None, None, None]
    drawn = StoredReplay(images, [8, 1, 2], batch_size=3000, seed=tf.constant([1, 2]))
    pixels, positions = drawn.draw(tf.constant(5, tf.int64))
    values = np.round((pixels.numpy().ravel() + 1) * 127.5).astype(int)
    np.testing.assert_allclose(np.bincount(positions) / 3000, 1 / 3, atol=0.04)
    assert set(values[positions == 0]) == set(range(8)) and set(values[positions == 1]) == {8}
    assert set(values[positions == 2]) == {9, 10}
    again, _ = drawn.draw(tf.constant(5, tf.int64))
    other, _ = drawn.draw(tf.constant(6, tf.int64))
    np.testing.assert_array_equal(again, pixels)
    assert np.any(other != pixels)


def test_stored_images_keep_old_classes():
    """The task's own images alone would be taken for all there is."""
    source = stream()
    kept = taught(replay(epochs=40, consolidation_steps=100), source=source)
    assert kept.evaluate(source.seen_test(3)).class_accuracy[0] > 0.9


def test_the_default_buffer_is_the_memory_of_dgm_as_it_was_measured():
    rows = results.read()
    for dataset in TUNED:
        runs = results.whole_runs(rows, dataset, "dgm", "w")
        # A bit for each of ten tasks.
        sizes = [row["parameters"] * (4 + 10 / 8) for row in runs]
        default = dgm_tf.settings_for(dataset, "experience_replay").buffer_bytes
        assert default == pytest.approx(np.mean(sizes), rel=0.05)


@pytest.mark.parametrize("quota", [5, 13, 40])
def test_the_buffer_chooses_among_the_images_of_a_class_each_once(quota):
    """A prime number of images, fewer than a batch, which training repeats."""
    images = np.arange(13 * 256, dtype=np.uint16).reshape(13, 16, 16, 1) // 13
    images = images.astype(np.uint8)
    chosen = set()
    for seed in range(20):
        data = images, ["cat"] * 13
        with task_of(data, number=1, known={}, image_shape=None, least=20) as task:
            assert task.train_size == 26
            (found,) = replay(seed=seed)._chosen(task, quota)
        places = [images.tolist().index(image) for image in found.tolist()]
        assert len(set(places)) == len(places) == min(quota, 13)
        chosen.add(tuple(places))
    assert len(chosen) > 15
    # Any place may come first, and does about as often as another.
    assert len({places[0] for places in chosen}) > 7


def test_a_mean_of_a_prime_number_of_images_is_of_each_once():
    images = np.random.RandomState(0).randint(0, 256, [13, 16, 16, 1]).astype(np.uint8)
    model = NearestMean()
    model.learn((images, ["cat"] * 13), verbose=0)
    expected = (images / 127.5 - 1).mean(axis=0)
    np.testing.assert_allclose(model._means[0], expected, atol=1e-6)


# Both.


@methods
def test_a_damaged_state_is_refused(method):
    meta, arrays = taught(MAKERS[method](), tasks=1).state()
    name = "finished/00001/means" if method == "nearest_mean" else "stored_images"
    with refused("the saved state must hold"):
        load_state(meta, {**arrays, name: arrays[name][:0]})
    with refused("the saved state"):
        load_state({**meta, "tasks": [[0], [1]]}, arrays)


@methods
def test_it_has_no_images_to_give(method):
    model = taught(MAKERS[method](), tasks=1)
    with refused("has no generator"):
        model.generate([0])
    with refused("generates no images"):
        model.audit()
    assert model.growth() == {}


@methods
def test_a_run_resumes_and_is_audited(method, tmp_path):
    whole = run(tmp_path / "whole", MAKERS[method]())
    cut = run(tmp_path / "cut", MAKERS[method](), tasks=1)
    run(cut, MAKERS[method]())
    assert_same_state(dgm_tf.load(cut).state(), dgm_tf.load(whole).state())
    assert len(RunFolder(cut).rows()) == 3
    assert not audit_run(whole).faults


def test_methods_that_see_old_images_are_not_private():
    assert not any(map(is_private, ("joint", "joint_gan", "experience_replay")))
    assert is_private("dgm-w") and is_private("nearest_mean") and is_private("mergan_ra")
    assert is_private("unknown-w") is None
    assert all(not method.private for method in METHODS.values() if method.needs_stream)


# A method of one's own.


class Always(NearestMean):
    """Knows the first class only."""

    method = "always"

    def probabilities(self, images):
        return np.eye(len(self.classes_seen), dtype=np.float32)[np.zeros(len(images), int)]


@pytest.fixture
def always():
    record = dgm_tf.Method("always", "always the first", dgm_tf.MethodSettings, Always, "first")
    register_method(record)
    yield record
    del METHODS["always"]


def test_a_registered_method_is_made_saved_and_loaded_like_any_other(always, tmp_path):
    settings = dgm_tf.settings_for("digits", "always", seed=4, batch_size=4)
    model = taught(registry.new_learner("always", settings), tasks=2)
    again = dgm_tf.load(model.save(tmp_path / "saved"))
    assert type(again) is Always and again.settings.seed == 4
    assert registry.label_of("always") == "always the first"


def test_a_class_that_is_defined_again_takes_its_own_place_and_no_others(always):
    again = type("Always", (Always,), {"__module__": __name__, "__qualname__": "Always"})
    register_method(dataclasses.replace(always, learner=again))
    assert METHODS["always"].learner is again
    other = type("Other", (Always,), {})
    for learner in (other, f"{__name__}:Always"):
        with refused("there is a method always already"):
            register_method(dataclasses.replace(always, learner=learner))
    with refused("there is a method dgm already"):
        register_method(dataclasses.replace(always, name="dgm", preset="dgm"))


def test_a_registered_methods_own_settings_are_set_like_any_others():
    @dataclasses.dataclass(frozen=True)
    class Deep(dgm_tf.MethodSettings):
        depth: int = dgm_tf.setting(2, "how deep", low=1)

    register_method(dgm_tf.Method("deep", "deep", Deep, "nowhere:Deep", ""))
    try:
        chosen = SettingsOptions("deep", settings='{"depth": 3}').resolve("digits", {"seed": 5})
        with refused("depth must be an integer of at least 1"):
            dgm_tf.settings_for(None, "deep", depth=0)
    finally:
        del METHODS["deep"]
    assert chosen == Deep(depth=3, seed=5)


@pytest.mark.parametrize(
    "changes, words",
    [
        *(
            ({"name": name}, "lower-case letters, digits and _")
            for name in ("", "Two Words", "a-w", "1st", "a/b", "../a", "a\n", None)
        ),
        ({"settings": dict}, "a class on dgm_tf.MethodSettings, received <class 'dict'>"),
        ({"settings": dgm_tf.MethodSettings()}, "a class on dgm_tf.MethodSettings"),
        ({"preset": "tuned"}, "unknown preset row 'tuned'"),
        ({"preset": None}, "choose one of dgm, joint, gan"),
    ],
)
def test_a_record_that_nothing_could_use_is_refused(changes, words):
    before = dict(METHODS)
    record = dgm_tf.Method("other", "other", dgm_tf.MethodSettings, "nowhere:Other", "")
    with refused(words):
        register_method(dataclasses.replace(record, **changes))
    assert before == METHODS


def test_every_row_of_presets_has_settings_for_all_data():
    for row in registry.PRESET_ROWS:
        wanted = [f"dgm-{variant}" for variant in "wa"] if row == "dgm" else [row]
        for rows in (*presets.TUNED.values(), *presets.PAPER.values(), presets._GENERAL):
            assert set(wanted) <= set(rows)
    assert {method.preset for method in METHODS.values()} <= set(registry.PRESET_ROWS)


def test_a_method_without_a_network_takes_no_classifier(tmp_path):
    saved = taught(NearestMean(batch_size=4), tasks=1).save(tmp_path / "saved")
    with refused("the method nearest_mean has no classifier that a function could make"):
        dgm_tf.load(saved, classifier=lambda image_shape, classes: None)


def returns(history, **parts):
    """A learner whose `learn_task` returns that, and that has other parts."""

    def learn_task(self, task, *, callbacks=()):
        NearestMean.learn_task(self, task)
        return history

    return type("Odd", (NearestMean,), {"learn_task": learn_task, **parts})(batch_size=4)


@pytest.mark.parametrize(
    "history, taken",
    [
        (None, {}),
        ({"loss": 0.5}, {"loss": [0.5]}),
        ({"loss": np.float32([1, 2])}, {"loss": [1.0, 2.0]}),
        ({"loss": tf.constant([1, 2])}, {"loss": [1.0, 2.0]}),
        ({"loss": []}, {}),
    ],
)
def test_what_a_task_logged_is_taken_as_numbers(history, taken):
    assert returns(history).learn(next(stream().tasks())) == taken


@pytest.mark.parametrize(
    "history, parts, error, words",
    [
        ({"loss": [1, np.nan]}, {}, dgm_tf.Diverged, "loss is no finite number in learn_task"),
        ({"loss": np.inf}, {}, dgm_tf.Diverged, "loss is no finite number"),
        ({"loss": "low"}, {}, InputError, "numbers by name, one for each epoch"),
        ([1.0], {}, InputError, "received [1.0]"),
        ({}, {"count_task": lambda self, task: None}, InputError, "by self.count_task(task)"),
    ],
)
def test_a_task_of_which_a_method_tells_nonsense_is_not_kept(history, parts, error, words):
    model = returns(history, **parts)
    with refused(words, kind=error):
        model.learn(next(stream().tasks()))
    assert model.finished_tasks == 0


@pytest.mark.parametrize(
    "probabilities, words",
    [
        (np.zeros([2, 3]), "must be [2, 1], a column for each class seen; received [2, 3]"),
        (np.zeros([1, 1]), "received [1, 1]"),
        (np.full([2, 1], np.nan), "are no finite numbers"),
    ],
)
def test_probabilities_that_are_none_are_refused(probabilities, words):
    model = returns({}, probabilities=lambda self, images: probabilities)
    model.learn(next(stream().tasks()))
    with refused("probabilities of Odd", words):
        model.predict(np.zeros([2, 16, 16, 1], np.float32))


def test_nothing_is_predicted_before_a_task_whatever_a_method_has():
    model = returns({}, image_shape=property(lambda self: self._nowhere))
    with refused("nothing has been learnt yet"):
        model.predict(np.zeros([2, 16, 16, 1], np.float32))


def test_a_method_on_dgm_is_no_dgm(tmp_path):
    mine = type("Mine", (MovedDGM,), {"method": "mine"})
    register_method(dgm_tf.Method("mine", "Mine", dgm_tf.DGMSettings, mine, "", preset="dgm"))
    try:
        run(tmp_path, mine(), tasks=1)
        with refused("mine-w", "dgm-w"):
            run(tmp_path, MovedDGM(), tasks=1)
        assert registry.label_of("mine-w") == "Minew"
    finally:
        del METHODS["mine"]


def test_a_state_of_another_method_is_refused(always):
    learnt = taught(NearestMean(batch_size=4), tasks=1)
    with refused("is of the method nearest_mean, and this learner of always: use another folder"):
        Always().load(*learnt.state())


def test_what_a_method_calls_its_size_is_no_measure(tmp_path):
    model = returns({}, growth=lambda self: {"average_accuracy": 2.0, "prototypes": 3})
    (row,) = RunFolder(run(tmp_path, model, tasks=1)).rows()
    assert row["average_accuracy"] <= 1 and row["prototypes"] == 3


@pytest.mark.parametrize("shares", [True, False])
def test_replicas_do_not_share_a_loop_that_knows_nothing_of_them(
    always, shares, tmp_path, monkeypatch
):
    learner = type("Apart", (Always,), {"shares_steps": shares})
    METHODS["always"] = dataclasses.replace(always, learner=learner)
    two = distribution.Distribution()
    two.replicas = 2
    monkeypatch.setattr(distribution, "start", lambda *_, **__: two)
    words = "always trains outside of a phase"
    expected = nullcontext if shares else lambda: refused(words)
    with expected():
        prepare(StreamOptions("digits"), "always", always.settings(), RunOptions(run_dir=tmp_path))
    week, memory = write(tmp_path / "week", {"cat": 20, "dog": 90}), tmp_path / "memory"
    with expected():
        open_memory.prepare(LearnOptions(memory, week), {"method": "always"}, {}, RunOptions())
    with expected(), distribution.used(two):
        learner(batch_size=4).learn(next(stream().tasks()))


def test_a_learner_that_lacks_parts_is_refused():
    class Half(dgm_tf.Learner):
        method = "half"

        def learn_task(self, task, *, callbacks=()):
            return {}

    with refused("Half of the method half lacks image_shape, probabilities"):
        register_method(dgm_tf.Method("half", "half", dgm_tf.MethodSettings, Half, ""))
    assert "half" not in METHODS


def test_a_record_that_does_not_fit_its_learner_is_refused():
    record = dgm_tf.Method("other", "other", dgm_tf.MethodSettings, Always, "")
    with refused("other", "'always'"):
        register_method(record)
    assert "other" not in METHODS
    with pytest.raises(InputError, match="unknown method 'other'"):
        dgm_tf.settings_for(None, "other")
