"""`trainers.oracle` and `judge` as a user types them."""

import json
import re
import shutil

import numpy as np
import pytest

from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import judging
from dgm_tf.reporting import pictures
from dgm_tf.stream import class_incremental
from trainers import judge, oracle, split_digits

TINY = [
    "--classes_per_task=5", "--epochs=1", "--batch_size=60", "--generator_size=2",
    "--critic_size=4", "--consolidation_steps=2", "--quiet",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of this module's own, which the oracle is trained into once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


# With a critic that begins so weak, few steps leave the generator's images grey.
GREY = ("--critic_initializer=normal", "--annealed_share=1", "--beta_2=0.999")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of DGM and one of the learner that is made of other parts than the rest."""
    folder = tmp_path_factory.mktemp("runs")
    assert split_digits.main([*TINY, *GREY, f"--run_dir={folder}/dgm-w"]) == 0
    assert split_digits.main([*TINY, "--method=joint_gan", f"--run_dir={folder}/joint-gan"]) == 0
    return folder


def rows_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_an_oracle_is_trained_by_one_command(cache, capsys):
    assert oracle.main(["--dataset=digits"]) == 0
    said = capsys.readouterr().out
    accuracy = float(re.search(r"knows ([\d.]+) %", said)[1])
    kept = Oracle.of(class_incremental("digits"))
    assert accuracy == round(100 * kept.test_accuracy, 2) > 97
    assert str(Oracle.kept_in(class_incremental("digits"))) in said
    assert str(cache) in said


def test_an_oracle_needs_one_data_set(capsys):
    assert oracle.main([]) == 2
    assert oracle.main(["--dataset=digits", "--images=x"]) == 2
    assert capsys.readouterr().err.count("expected either --dataset=NAME or --images=DIR") == 2


@pytest.mark.parametrize("learner", ["dgm-w", "joint-gan"])
def test_a_run_is_judged_as_it_was_while_it_ran(runs, learner, capsys):
    run = runs / learner
    for row in rows_of(run):
        assert judge.main([f"--run_dir={run}", f"--task={row['task']}"]) == 0
        said = capsys.readouterr().out
        assert f"mean (G_t)  {100 * row['oracle_accuracy']:13.2f}" in said
        assert f"Frechet distance {row['oracle_frechet_distance']:.2f}" in said
        for label, share in row["oracle_class_share"].items():
            right = row["oracle_class_accuracy"][label]
            assert f"{label:>16}  {100 * right:13.2f}  {100 * share:19.2f}" in said
        classes = len(row["classes_seen"])
        sheet = run / "samples" / f"nearest-{row['task']:02d}.png"
        assert pictures.read_grid(sheet, rows=classes, image_shape=(16, 16, 1)).any()


class Parrot:
    """Repeats training images, turned by nothing."""

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
    judging._draw_nearest(Oracle.of(stream), Parrot(stream), stream, sheet)
    grid = pictures.read_grid(sheet, rows=2, image_shape=(16, 16, 1))
    np.testing.assert_array_equal(grid[:, 0::2], grid[:, 1::2])
    assert len(np.unique(grid.reshape(20, -1), axis=0)) == 10


def test_other_data_are_refused(runs, tmp_path, capsys):
    run = shutil.copytree(runs / "dgm-w", tmp_path / "run")
    settings = json.loads((run / "settings.json").read_text())
    settings["stream"]["fingerprint"] = "0123456789abcdef"
    (run / "settings.json").write_text(json.dumps(settings))
    assert judge.main([f"--run_dir={run}"]) == 2
    assert "was learnt from other data" in capsys.readouterr().err
    settings["stream"]["name"] = "flowers"
    (run / "settings.json").write_text(json.dumps(settings))
    assert judge.main([f"--run_dir={run}"]) == 2
    assert "name it by --images=DIR" in capsys.readouterr().err


def test_a_learner_without_generator_is_refused(tmp_path, capsys):
    run = tmp_path / "joint"
    wanted = [*TINY[:3], "--critic_size=4", "--consolidation_steps=2", "--quiet", "--tasks=1"]
    assert split_digits.main([*wanted, "--method=joint", f"--run_dir={run}"]) == 0
    assert judge.main([f"--run_dir={run}"]) == 2
    assert "joint, which generates no images" in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert judge.main([f"--run_dir={tmp_path}"]) == 2
    assert judge.main([]) == 2
    assert capsys.readouterr().err.count("error: expected") == 2


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
