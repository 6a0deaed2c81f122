"""`trainers.oracle`, `judge`, `dissect` and `relearn` as a user types them."""

import json
import re
import shutil

import numpy as np
import pytest

from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import dissection, judging
from dgm_tf.experiments.class_quality import judged
from dgm_tf.reporting import pictures
from dgm_tf.settings import settings_for
from dgm_tf.stream import class_incremental
from trainers import dissect, judge, oracle, relearn, split_digits

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


# What a classifier lacks.


def test_a_run_is_taken_apart(runs, tmp_path, capsys):
    out = tmp_path / "found.json"
    sizes = ["--steps=120", "--images_per_class=40", f"--out={out}"]
    assert dissect.main([f"--run_dir={runs}/dgm-w", *sizes]) == 0
    said, found = capsys.readouterr().out, json.loads(out.read_text())
    row = rows_of(runs / "dgm-w")[-1]
    assert found["own"]["accuracy"] == pytest.approx(row["average_accuracy"])
    arms = found["arms"]
    assert {"real", "generated", "real newest"} <= set(arms) <= set(dissection.ARMS)
    for name, arm in {**arms, "own": found["own"]}.items():
        mean = np.mean(list(arm["class_accuracy"].values()))
        assert arm["accuracy"] == pytest.approx(mean), name
        assert f"{100 * arm['accuracy']:8.2f}  {100 * arm['newest_share']:9.2f}  " in said
    assert set(found["quality"]) == {str(label) for label in range(10)}
    for label, quality in found["quality"].items():
        # Grey is near no digit, and near it is none.
        assert quality["compared"] == 40 and 0 <= quality["recognised"] <= 1
        assert quality["precision"] < 0.1 and quality["recall"] < 0.1
        shown = f"{int(label):8d}{100 * quality['recognised']:11.2f}"
        assert f"{shown}{quality['frechet_distance']:9.2f}" in said
    # A generator of a few steps draws grey: nothing is learnt from it, and whatever looks real is
    # taken for the classes that were shown by real images.
    assert arms["real"]["accuracy"] > 0.8 > 0.5 > arms["generated"]["accuracy"]
    assert arms["real"]["newest_share"] == pytest.approx(found["newest_in_test"], abs=0.1)
    assert arms["real newest"]["newest_share"] > 0.9
    old = [arms["real newest"]["class_accuracy"][str(label)] for label in range(5)]
    assert max(old) < 0.2


def test_the_classifiers_are_made_as_the_runs_own(monkeypatch):
    class Made(Exception):
        pass

    def critic(image_shape, classes, **wanted):
        raise Made(image_shape, classes, wanted)

    class Learnt:
        settings = settings_for(
            "digits", critic_size=3, critic_norm="batch", critic_initializer="normal"
        )

    monkeypatch.setattr(dissection, "Critic", critic)
    with pytest.raises(Made) as found:
        dissection._trained(Learnt(), [np.zeros([4, 16, 16, 1], np.uint8)] * 2, 5, 0)
    image_shape, classes, wanted = found.value.args
    assert (image_shape, classes) == ((16, 16, 1), 2)
    assert (wanted["size"], wanted["norm"], wanted["initializer"]) == (3, "batch", "normal")


def test_quality_is_measured_on_as_many_images_of_each_kind():
    class Eyes:
        def features(self, images):
            return images.reshape(len(images), -1)

        def classify(self, images):
            return np.where(images[:, 0, 0, 0] > 0, 7, 1)

    images = np.random.RandomState(0).randint(0, 120, (9, 2, 2, 1)).astype(np.uint8)
    made = np.concatenate([images[:6], images[:2]])
    made[[0, 2, 3], 0, 0, 0] = 200
    seen = images.copy()
    seen[:6] = made[:6]
    hits, same = judged(Eyes(), 7, seen[:6], made)
    assert hits.tolist() == [True, False, True, True] + [False] * 4
    assert (same.recognised, same.precision, same.recall, same.compared) == (3 / 8, 1.0, 1.0, 6)
    assert same.frechet_distance == pytest.approx(0.0, abs=1e-9)
    _, far = judged(Eyes(), 7, images, images + np.uint8(100))
    assert (far.precision, far.recall) == (0.0, 0.0)
    # Gaussians of the same shape are as far apart as their means; a level is 2 / 255.
    assert far.frechet_distance == pytest.approx(4 * (100 / 127.5) ** 2)


def test_the_classes_of_a_mixture_take_turns_and_keep_their_images():
    images = [np.full((count, 16, 16, 1), 40 * count, np.uint8) for count in (1, 3, 5)]
    classes = np.array([7, 2, 9], np.int32)
    batches = list(dissection._balanced(images, classes, 4, 6, seed=0))
    labels = np.concatenate([labels.numpy() for _, labels in batches])
    pixels = np.concatenate([pixels.numpy()[:, 0, 0, 0] for pixels, _ in batches])
    assert labels.tolist() == [7, 2, 9] * 8
    levels = np.rint((pixels + 1) * 127.5)
    assert levels.tolist() == [40, 120, 200] * 8


def test_an_early_task_has_no_older_images(runs, tmp_path, capsys):
    out = tmp_path / "found.json"
    sizes = ["--steps=2", "--images_per_class=4", f"--out={out}", "--task=1"]
    assert dissect.main([f"--run_dir={runs}/joint-gan", *sizes]) == 0
    assert "real newest" not in json.loads(out.read_text())["arms"]
    assert "after task 1" in capsys.readouterr().out


# What other settings bring.


def test_a_task_learnt_again_with_nothing_else_is_the_same(runs, tmp_path, capsys):
    """So that what differs with a change is the change's."""
    out = tmp_path / "again.json"
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    arguments = [f"--run_dir={runs}/dgm-w", "--images_per_class=40", f"--out={out}"]
    assert relearn.main([*arguments, "--change=epochs=1,sparsity_follows_size=true"]) == 0
    assert (
        "task 2 learnt again with epochs 1, sparsity_follows_size True" in capsys.readouterr().out
    )
    found = json.loads(out.read_text())
    assert found["before"] == found["again"]
    row = rows_of(runs / "dgm-w")[-1]
    assert found["before"]["accuracy"] == pytest.approx(row["average_accuracy"])
    own = [row["class_accuracy"][str(label)] for label in row["classes"]]
    assert found["before"]["own_accuracy"] == pytest.approx(np.mean(own))
    assert list(found["before"]["quality"]) == [str(label) for label in row["classes"]]
    assert found["changes"] == {"epochs": 1, "sparsity_follows_size": True}
    assert found["command"].endswith("--change=epochs=1,sparsity_follows_size=true")
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


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


def test_a_task_learnt_again_differs_in_what_the_change_is_about(runs, tmp_path):
    out = tmp_path / "again.json"
    arguments = [f"--run_dir={runs}/dgm-w", "--images_per_class=40", f"--out={out}"]
    assert relearn.main([*arguments, "--change=consolidation_steps=60"]) == 0
    found = json.loads(out.read_text())
    # The generator had ended before consolidation began.
    assert found["before"]["quality"] == found["again"]["quality"]
    assert found["before"]["accuracy"] != found["again"]["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--change=epoch=3"], "unknown setting epoch; known are epochs"),
        (["--change=generator_size=3,epochs=3"], "generator_size cannot change now"),
        (["--change=mixed_precision=true"], "mixed_precision cannot change now"),
        (
            ["--change=critic_size=8,consolidation_start=previous"],
            "critic_size cannot change while the classifier goes on",
        ),
        (["--change=epochs=0"], "epochs must be"),
        (["--change=beta_2=high"], "beta_2 must be"),
        (["--change=epochs"], "expected --change=NAME=VALUE"),
        (["--change=epochs=1,epochs=2"], "each name once"),
        (["--change=epochs=1", "--task=1"], "expected --task from 2, received 1"),
        (["--change=epochs=1", "--task=3"], "expected --task from 1 to 2"),
        ([], "--change"),
    ],
)
def test_what_cannot_be_learnt_again_is_one_line(runs, capsys, arguments, said):
    assert relearn.main([f"--run_dir={runs}/dgm-w", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
