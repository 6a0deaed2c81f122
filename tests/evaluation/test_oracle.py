"""The oracle on real digits: good itself, kept, and not to be fooled by pictures of nothing."""

import shutil

import numpy as np
import pytest

from dgm_tf.data.stream import class_incremental
from dgm_tf.evaluation.oracle import Oracle, cache_folder, training_steps
from dgm_tf.storage import paths


@pytest.fixture(scope="module")
def stream():
    return class_incremental("digits", classes_per_task=5)


@pytest.fixture(scope="module")
def oracle(stream):
    """Trained once per session, into the session's cache."""
    return Oracle.of(stream)


def real_images(stream):
    parts = [(images.numpy(), labels.numpy()) for images, labels in stream.seen_test(2)]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def test_it_knows_real_digits_and_says_how_well(oracle, stream):
    images, labels = real_images(stream)
    right = oracle.classify(images) == labels
    assert oracle.test_accuracy > 0.97
    by_class = [right[labels == label].mean() for label in range(10)]
    assert oracle.test_accuracy == pytest.approx(np.mean(by_class))


def test_it_is_trained_once(oracle, stream, monkeypatch):
    monkeypatch.setattr(Oracle, "trained", lambda *_: 1 / 0)
    again = Oracle.of(class_incremental("digits", class_order="random", seed=4))
    images, _ = real_images(stream)
    np.testing.assert_array_equal(again.features(images[:50]), oracle.features(images[:50]))
    assert again.test_accuracy == oracle.test_accuracy


def test_a_damaged_oracle_is_trained_again(stream, oracle, tmp_path, monkeypatch):
    there = cache_folder(stream)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shutil.copytree(there, cache_folder(stream))
    (arrays,) = cache_folder(stream).glob("arrays.*")
    arrays.write_bytes(b"nothing")
    monkeypatch.setattr(Oracle, "trained", classmethod(lambda *_: oracle))
    said = []
    assert Oracle.of(stream, say=said.append) is oracle
    assert len(said) == 1 and said[0].startswith("training the oracle")
    monkeypatch.setattr(Oracle, "trained", lambda *_: 1 / 0)
    assert Oracle.of(stream, say=said.append).test_accuracy == oracle.test_accuracy
    assert len(said) == 1  # nothing was trained


def test_real_images_are_judged_good_and_noise_bad(oracle, stream):
    images, labels = real_images(stream)

    def remembered(wanted, seed):
        rng = np.random.default_rng(seed)
        return np.stack([images[rng.choice(np.flatnonzero(labels == label))] for label in wanted])

    def noise(wanted, seed):
        return np.random.default_rng(seed).uniform(-1, 1, [len(wanted), *images.shape[1:]])

    seen = stream.seen_test(2)
    good = oracle.judge(remembered, tuple(range(10)), seen)
    bad = oracle.judge(
        lambda wanted, seed: noise(wanted, seed).astype(np.float32), tuple(range(10)), seen
    )
    assert good.accuracy > 0.97 and good.precision > 0.95 and good.recall > 0.8
    assert bad.accuracy < 0.3 and bad.recall < 0.1
    assert bad.frechet_distance > 10 * good.frechet_distance
    assert good.accuracy == pytest.approx(np.mean(list(good.class_accuracy.values())))


def test_a_class_that_takes_over_shows_in_the_balance(oracle, stream):
    images, labels = real_images(stream)

    def twos_and_threes(wanted, seed):
        kept = images[labels == (3 if wanted[0] == 3 else 2)]
        return kept[np.random.default_rng(seed).integers(len(kept), size=len(wanted))]

    found = oracle.judge(twos_and_threes, tuple(range(10)), stream.seen_test(2))
    taken = found.class_share
    assert taken[2] == pytest.approx(0.9, abs=0.05) and taken[3] == pytest.approx(0.1, abs=0.05)
    assert sum(taken.values()) == pytest.approx(1.0)
    assert min(found.class_accuracy[2], found.class_accuracy[3]) > 0.95


@pytest.mark.parametrize(
    "per_epoch, steps", [(9, 600), (20, 800), (62, 2400), (398, 2400), (1000, 4000)]
)
def test_small_data_sets_get_more_epochs_and_none_too_few(per_epoch, steps):
    assert training_steps(per_epoch) == steps


def test_a_cache_that_cannot_be_written_is_said_and_does_not_end_a_run(
    stream, oracle, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(Oracle, "trained", classmethod(lambda *_: oracle))
    assert Oracle.of(stream) is oracle
    (line,) = caplog.messages
    assert "the oracle is not kept" in line and "\n" not in line
    monkeypatch.setattr(paths, "cache", lambda: None)
    assert Oracle.of(stream) is oracle
    assert "set XDG_CACHE_HOME" in caplog.messages[-1] and len(caplog.messages) == 2


def test_an_oracle_from_the_cache_is_no_news(oracle, stream, caplog):
    Oracle.of(stream)
    assert not caplog.messages


@pytest.mark.parametrize(("real", "measured"), [(3, False), (4, True)])
def test_few_real_images_leave_the_distance_out(oracle, stream, real, measured):
    (images, labels), *_ = stream.seen_test(1)
    batches = [(images[:real], labels[:real])]
    noise = np.random.RandomState(0)
    judged = oracle.judge(
        lambda labels, seed: noise.uniform(-1, 1, [len(labels), 16, 16, 1]).astype(np.float32),
        (0,), batches, images_per_class=5,
    )  # fmt: skip
    found = judged.frechet_distance, judged.precision, judged.recall
    assert np.isfinite(found).tolist() == [measured] * 3 and 0 <= judged.accuracy <= 1
