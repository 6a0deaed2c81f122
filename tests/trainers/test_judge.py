"""`trainers.judge` as a user types it."""

import json

import numpy as np
import pytest

from dgm_tf.data import datasets
from dgm_tf.data.datasets import ImageData
from dgm_tf.data.stream import class_incremental
from dgm_tf.evaluation import quality
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import judge as judging
from dgm_tf.reporting import pictures
from trainers import judge


@pytest.fixture(autouse=True)
def known(oracle, monkeypatch):
    monkeypatch.setattr(Oracle, "of", lambda stream, **_: oracle)


@pytest.fixture
def run(finished):
    return finished / "run"


def test_a_run_is_judged_as_it_was_while_it_ran(run, tmp_path, capsys):
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        sheet = tmp_path / "nearest.png"
        assert judge.main([f"--memory={run}", f"--task={row['task']}", f"--out={sheet}"]) == 0
        said = capsys.readouterr().out
        assert f"mean (G_t)  {100 * row['oracle_accuracy']:13.2f}" in said
        assert f"Frechet distance {row['oracle_frechet_distance']:.2f}" in said
        for label, right in row["oracle_class_accuracy"].items():
            assert f"{label:>16}  {100 * right:13.2f}  " in said
        classes = len(row["classes_seen"])
        assert pictures.read_grid(sheet, rows=classes, image_shape=(16, 16, 1)).any()


def test_measures_that_too_few_real_images_leave_undefined_are_not_available(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(quality, "FEWEST", 10**6)
    asked = [f"--memory={run}", f"--out={tmp_path}/s.png", "--images_per_class=5"]
    assert judge.main(asked) == 0
    said = capsys.readouterr().out
    assert "features: Frechet distance n/a, precision n/a, recall n/a\n" in said


@pytest.mark.parametrize("out", ["j.jpg", ".png", "week1/", "week1"])
def test_a_sheet_goes_to_a_file_that_says_png_or_nothing_is_read(run, tmp_path, out, capsys):
    (tmp_path / "week1").mkdir()
    assert judge.main([f"--memory={run}/nowhere", f"--out={tmp_path}/{out}"]) == 2
    assert "expected a PNG file for --out, received " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["week1"]


class Parrot:
    """Repeats training images as they are."""

    classes_seen, finished_tasks = (3, 8), 1

    def __init__(self, stream):
        batches = stream.joint_batches(1, 1, epochs=1, seed=0)
        images = {}
        for image, label in batches.take(200):
            images.setdefault(int(label[0]), []).append(image[0].numpy())
        self._images = images

    def generate(self, labels, *, seed):
        seen = {label: iter(images) for label, images in self._images.items()}
        return np.stack([next(seen[label]) for label in labels.tolist()])


def test_the_sheet_shows_what_was_learnt_by_heart(tmp_path):
    order = [3, 8, *(label for label in range(10) if label not in (3, 8))]
    stream = class_incremental("digits", classes_per_task=2, class_order=order)
    sheet = tmp_path / "sheet.png"
    judging._write_nearest(Oracle.of(stream), Parrot(stream), stream, sheet)
    grid = pictures.read_grid(sheet, rows=2, image_shape=(16, 16, 1))
    np.testing.assert_array_equal(grid[:, 0::2], grid[:, 1::2])
    assert len(np.unique(grid.reshape(20, -1), axis=0)) == 10


def test_other_data_are_refused(run, monkeypatch, capsys):
    monkeypatch.setattr(ImageData, "fingerprint", "0123456789abcdef")
    assert judge.main([f"--memory={run}"]) == 2
    assert "was learnt from other data" in capsys.readouterr().err
    monkeypatch.setattr(datasets, "NAMES", ("mnist",))
    assert judge.main([f"--memory={run}"]) == 2
    assert "name it by --images=DIR" in capsys.readouterr().err


def test_other_images_than_those_of_a_data_set_are_refused(run, tmp_path, capsys):
    assert judge.main([f"--memory={run}", f"--images={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert (
        f"was learnt from digits and is judged by these images, received --images={tmp_path}"
        in (error)
    )
    assert error.endswith(": leave --images out\n")


def test_a_learner_without_generator_is_refused(run, monkeypatch, capsys):
    monkeypatch.setattr("dgm_tf.DGM.generates", False)
    assert judge.main([f"--memory={run}"]) == 2
    assert "dgm-w, which generates no images" in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert judge.main([f"--memory={tmp_path}"]) == 2
    assert capsys.readouterr().err.startswith("error: expected the folder of a run")


class Joint:
    finished_tasks, classes_seen = 1, tuple(range(5))


def test_real_images_come_many_at_a_time_whatever_their_number():
    stream = class_incremental("digits", classes_per_task=5)
    counts = stream.describe()["train_images"]
    total = sum(counts[label] for label in Joint.classes_seen)
    assert all(total % size for size in range(2, 257))  # a prime
    batches = list(judging.real_batches(stream, Joint))
    assert [len(labels) for _, labels in batches] == [256] * (total // 256) + [total % 256]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert np.bincount(labels).tolist() == [counts[label] for label in Joint.classes_seen]
    assert len(np.unique(images.reshape(total, -1), axis=0)) > 0.99 * total
