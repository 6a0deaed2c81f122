"""Images of a user's own by the trainer for them, with a DGM whose training is a random move."""

import re
import shutil

import pytest

from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import run as run_module
from dgm_tf.reporting import numbers
from dgm_tf.reporting.run import read_runs
from dgm_tf.runs.run_folder import RunFolder
from tests.class_folders import write
from tests.tiny_run import MovedDGM
from trainers import judge, sample, split_folder

TINY = [
    "--image_size=16", "--epochs=1", "--batch_size=4", "--generator_size=2", "--critic_size=4",
    "--consolidation_steps=4", "--nooracle",
]  # fmt: skip


@pytest.fixture(autouse=True)
def moved(monkeypatch, no_page):
    monkeypatch.setattr(run_module, "new_learner", lambda name, settings, _: MovedDGM(settings))


def train(images, run, *arguments):
    return split_folder.main([f"--images={images}", f"--run_dir={run}", *TINY, *arguments])


def test_a_folder_that_was_moved_is_the_same_run(tmp_path, capsys):
    write(tmp_path / "d", {"a": 10, "b": 90})
    assert train(tmp_path / "d", tmp_path / "r", "--max_tasks=1") == 0
    (tmp_path / "d").rename(tmp_path / "pictures")
    capsys.readouterr()
    assert train(tmp_path / "pictures", tmp_path / "r") == 0
    assert "resumed after task 1" in capsys.readouterr().out


def test_nothing_is_written_among_images_to_learn_or_to_test(tmp_path, capsys):
    images, tests = (write(tmp_path / name, {"a": 10, "b": 90}) for name in ("d", "t"))
    for run, *more in (
        (images / "r", "--run_dir"), (tests / "r", "--run_dir"),
        (tmp_path / "r", "--export_dir", f"--export_dir={images}"),
        (tmp_path / "r", "--export_dir", f"--export_dir={tests}/e"),
    ):  # fmt: skip
        flag, *arguments = more
        assert train(images, run, f"--test_images={tests}", *arguments) == 2
        assert f"name another {flag}" in capsys.readouterr().err
    assert sorted(path.name for path in (*images.iterdir(), *tests.iterdir())) == list("aabb")


def test_a_class_added_later_is_sent_to_the_memory_that_takes_it(tmp_path, capsys):
    images = write(tmp_path / "d", {"a": 10, "b": 90})
    assert train(images, tmp_path / "r", "--max_tasks=1") == 0
    write(images, {"c": 200})
    for gone in ("", "; gone: a"):
        capsys.readouterr()
        assert train(images, tmp_path / "r") == 2
        error = capsys.readouterr().err
        assert f"(new here: c{gone})" in error and "use trainers.learn" in error
        assert error.count("\n") == 1
        shutil.rmtree(images / "a", ignore_errors=True)


def test_two_seeds_of_a_folder_are_two_runs_of_one_method(tmp_path):
    images = write(tmp_path / "d", {"a": 10, "b": 90})
    runs = [tmp_path / f"seed{seed}" for seed in (0, 1)]
    for seed, run in enumerate(runs):
        assert train(images, run, "--max_tasks=1", f"--seed={seed}") == 0
    (group,) = numbers.groups(read_runs(runs))
    assert (group.name, [run.seed for run in group.runs]) == ("DGMw", [0, 1])


def test_classes_are_asked_for_and_shown_by_name(tmp_path, capsys):
    images = write(tmp_path / "d", {"cat": 10, "dog": 90, "an ape": 200})
    assert train(images, tmp_path / "r", "--class_order=dog,an ape,cat", "--max_tasks=2") == 0
    said = capsys.readouterr().out
    assert "order dog,an ape,cat, single head" in said
    assert "task 1 of 2: class dog: learnt" in said and "2 (an ape)" in said
    assert re.search(r"\d+\.\d\d \((dog|an ape)\)", said)
    header = (tmp_path / "r" / "accuracy_matrix.csv").read_text().splitlines()[0]
    assert "dog" in header and "an ape" in header
    assert train(images, tmp_path / "other", "--class_order=dog,ape,cat") == 2
    assert "class ape is unknown; there are an ape, cat, dog" in capsys.readouterr().err


def test_a_number_is_the_class_that_is_called_so(tmp_path, capsys):
    images = write(tmp_path / "d", {"1": 10, "2": 90, "10": 200})
    run = tmp_path / "r"
    assert train(images, run, "--class_order=2,10,1", "--max_tasks=2") == 0
    rows = RunFolder(run).rows()
    assert [row["class_names"] for row in rows] == [["2"], ["10"]]
    assert train(images, tmp_path / "other", "--class_order=0,1,2") == 2
    assert "class 0 is unknown; there are 1, 2, 10" in capsys.readouterr().err
    made = [f"--memory={run}", "--count=1", f"--out={tmp_path}/a.png"]
    assert sample.main([*made, "--labels=2,10"]) == 0
    assert capsys.readouterr().out.startswith("2 images of 2, 10: ")
    assert sample.main([*made, "--labels=1"]) == 2  # the third, not learnt yet, and not class 2
    assert "class 1 has not been learnt; there are 2, 10" in capsys.readouterr().err


def test_where_no_name_is_a_number_one_is_an_id(tmp_path, capsys):
    images = write(tmp_path / "d", {"ape": 10, "bee": 90})
    assert train(images, tmp_path / "r", "--class_order=1,0", "--max_tasks=1") == 0
    made = [f"--memory={tmp_path}/r", "--count=1", f"--out={tmp_path}/a.png", "--labels=1"]
    capsys.readouterr()
    assert sample.main(made) == 0
    assert capsys.readouterr().out.startswith("1 images of bee: ")


@pytest.mark.parametrize(
    ("count", "arguments", "needed"),
    [
        (2, ["--batch_size=8"], 11),
        (2, ["--batch_size=2"], 4),
        (3, ["--batch_size=2"], 4),
        (2, ["--batch_size=2", "--validation_fraction=0"], 3),
        (41, [], None),
        (10, ["--batch_size=32"], 47),
    ],
)
def test_a_class_of_too_few_images_is_told_how_many_it_needs(
    count, arguments, needed, tmp_path, capsys
):
    write(tmp_path / "d", {"a": 10}, count=count)
    write(tmp_path / "d", {"b": 90}, count=60)
    code = train(tmp_path / "d", tmp_path / "r", "--max_tasks=1", *arguments)
    if needed is None:
        assert code == 0
        return
    error = capsys.readouterr().err
    assert code == 2 and f"for which a class needs {needed} images" in error
    assert "class a has" in error and error.count("\n") == 1
    write(tmp_path / "d", {"a": 10}, count=needed - 1)
    assert train(tmp_path / "d", tmp_path / "r", "--max_tasks=1", *arguments) == 2
    write(tmp_path / "d", {"a": 10}, count=needed)
    assert train(tmp_path / "d", tmp_path / "r", "--max_tasks=1", *arguments) == 0


def test_what_is_not_taken_is_said_once(tmp_path, capsys, caplog):
    images = write(tmp_path / "d", {"a": 10, "b": 90})
    (images / "a" / "1.heic").write_bytes(b"?")
    assert train(images, tmp_path / "r", "--max_tasks=1") == 0
    captured = capsys.readouterr()
    assert captured.out.count("passed over: .heic (1)") == 1
    assert ".heic" not in captured.err + caplog.text


def test_a_run_of_given_parts_and_links_is_judged_by_the_same(tmp_path, monkeypatch, capsys):
    store = write(tmp_path / "store", {"a": 10, "b": 90})
    tests = write(tmp_path / "tests", {"a": 20, "b": 100})
    (tmp_path / "d").mkdir()
    for name in ("a", "b"):
        (tmp_path / "d" / name).symlink_to(store / name)
    assert train(tmp_path / "d", tmp_path / "r") == 2
    assert "--follow_links" in capsys.readouterr().err
    where = ["--follow_links", f"--test_images={tests}"]
    assert train(tmp_path / "d", tmp_path / "r", *where) == 0
    monkeypatch.setattr(Oracle, "of", lambda stream, **_: Oracle((16, 16, 1), 2, test_accuracy=0.5))
    asked = [f"--memory={tmp_path}/r", f"--images={tmp_path}/d", "--images_per_class=8"]
    assert judge.main([*asked, *where]) == 0
    assert judge.main([*asked, "--follow_links"]) == 2
    assert "was learnt from other data" in capsys.readouterr().err


@pytest.mark.parametrize("names", ["ac", "abc"])
def test_a_run_is_not_judged_by_images_of_other_classes(tmp_path, names, capsys):
    write(tmp_path / "d", {"a": 10, "b": 90})
    assert train(tmp_path / "d", tmp_path / "r", "--max_tasks=1") == 0
    # The images themselves are the same where there are as many classes.
    write(tmp_path / "others", dict(zip(names, (10, 90, 200), strict=False)))
    capsys.readouterr()
    assert judge.main([f"--memory={tmp_path}/r", f"--images={tmp_path}/others"]) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}/r was learnt from other data (folder d" in error
    assert "; classes a, b) than these (folder others" in error and error.count("\n") == 1
    assert f"; classes {', '.join(names)}): name the folder of those by --images" in error
