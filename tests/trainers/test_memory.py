"""A memory as a user meets it: learn, classify and the commands that look at it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import open_memory
from dgm_tf.reporting import page
from tests.class_folders import photographs, write
from tests.run_content import content
from tests.tiny_run import MovedDGM
from tests.trainers.tiny_memory import TINY, noise
from trainers import __main__ as commands
from trainers import classify, command, judge, learn, report

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Folder with a memory of two commands, `zoo`, and the photographs; not to touch."""
    folder = tmp_path_factory.mktemp("zoo")
    images, labels = noise(12, 3)
    photographs(folder / "week1", images, labels, ["cat", "dog"], count=12)
    photographs(folder / "week2", images, labels - 2, ["an ape"], count=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_memory, "new_learner", lambda method, settings: MovedDGM(settings))
        patch.setattr(page, "write_page", lambda folder: None)
        memory = f"--memory={folder}/zoo"
        assert learn.main([memory, f"--images={folder}/week1", "--verbosity=0", *TINY]) == 0
        assert learn.main([memory, f"--images={folder}/week2", "--verbosity=0"]) == 0
    return folder


@pytest.fixture
def memory(zoo):
    return f"--memory={zoo}/zoo"


def test_the_end_says_how_to_classify_a_picture(zoo, memory, monkeypatch, capsys):
    monkeypatch.setattr(open_memory, "new_learner", lambda method, settings: MovedDGM(settings))
    monkeypatch.setattr(page, "write_page", lambda folder: None)
    assert learn.main([memory, f"--images={zoo}/week2"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        f"To classify a picture: python -m trainers.classify {memory} '{zoo}/week2/an ape/0.png'"
    )


def test_a_picture_gets_a_line_with_class_and_probability(zoo, memory, capsys):
    files = [str(zoo / "week1" / "cat" / name) for name in ("0.png", "1.jpg", "2.png")]
    assert classify.main([memory, *files]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [path for path, _, _ in lines] == files
    for _, name, probability in lines:
        assert name in ("cat", "dog", "an ape") and 1 / 3 <= float(probability) <= 1


def test_as_json_the_probabilities_of_all_classes_sum_up_to_one(zoo, memory, capsys):
    file = str(zoo / "week2" / "an ape" / "0.png")
    assert classify.main([memory, "--json", "--top=5", file]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == file and found["class"] == found["top"][0]["class"]
    assert {each["class"] for each in found["top"]} == {"cat", "dog", "an ape"}
    probabilities = [each["probability"] for each in found["top"]]
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    assert probabilities == sorted(probabilities, reverse=True)


def test_files_that_cannot_be_read_get_a_line_and_the_others_are_answered(
    zoo, memory, tmp_path, capsys
):
    (tmp_path / "text.png").write_bytes(b"no picture")
    files = [tmp_path / "text.png", zoo / "week1" / "cat" / "0.png", tmp_path / "none.png", zoo]
    assert classify.main([memory, *map(str, files)]) == 2
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1 and captured.out.startswith(str(files[1]))
    assert [line[:14] for line in captured.err.splitlines()] == ["error: image '"] * 3
    assert classify.main([memory, "--json", str(files[0])]) == 2
    assert set(json.loads(capsys.readouterr().out)) == {"path", "error"}


def test_a_file_whose_name_is_no_text_is_answered(zoo, memory, tmp_path, capsys):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff \xc3\xa9.png")
    shutil.copy(zoo / "week1" / "cat" / "0.png", path)
    assert classify.main([memory, "--json", path, f"{path}.none"]) == 2
    found, none = map(json.loads, capsys.readouterr().out.splitlines())
    assert found["path"] == path and found["class"] in ("cat", "dog", "an ape")
    assert none["path"] == f"{path}.none" and "error" in none
    assert classify.main([memory, path]) == 0
    assert "\\udcff" in capsys.readouterr().out
    command.say(path)
    assert capsys.readouterr().out == path.replace("\udcff", "\\udcff") + "\n"


def test_what_cannot_be_asked_is_one_line(memory, tmp_path, capsys):
    for arguments in ([memory], [f"--memory={tmp_path}", "a.png"], [memory, "--top=0", "a.png"]):
        assert classify.main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_page_of_a_memory_has_the_names_of_its_classes(memory, tmp_path):
    assert report.main([memory, f"--out={tmp_path}/page.html"]) == 0
    text = (tmp_path / "page.html").read_text()
    assert (
        "class an ape" in text
        and "as learnt in task 3" in text
        and "fingerprint of the images" not in text
    )


def test_a_memory_is_judged_by_the_classes_at_hand(zoo, memory, tmp_path, monkeypatch, capsys):
    asked = []

    def of(stream, **_):
        asked.append(stream.class_names)
        return Oracle((16, 16, 3), 2, test_accuracy=0.5)

    monkeypatch.setattr(Oracle, "of", of)
    sheet = f"--out={tmp_path}/nearest.png"
    assert judge.main([memory, f"--images={zoo}/week1", "--images_per_class=8", sheet]) == 0
    said = capsys.readouterr().out.splitlines()
    assert asked == [("cat", "dog")] and any(line.lstrip().startswith("cat ") for line in said)
    assert said[0] == "not judged, for want of two real images: an ape"
    for name in ("cat", "dog"):
        (tmp_path / "copies" / name).mkdir(parents=True)
        for copy in ("a.png", "b.png"):
            shutil.copy(zoo / "week1" / name / "0.png", tmp_path / "copies" / name / copy)
    assert judge.main([memory, f"--images={tmp_path}/copies"]) == 2
    assert "received 0 such classes" in capsys.readouterr().err
    assert judge.main([memory]) == 2 and judge.main([memory, f"--images={zoo}/week2"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
    refused = [f"--images={zoo}/week1", f"--test_images={zoo}/week2"]
    assert judge.main([memory, *refused]) == 2
    assert "leave --test_images and --data_dir out" in capsys.readouterr().err


def test_a_memorys_sheet_is_that_of_its_task_and_its_images_may_lie_in_two_parts(
    zoo, tmp_path, monkeypatch, capsys
):
    counts = []

    def of(stream, **_):
        counts.append(sum(stream.describe()["train_images"]))
        return Oracle((16, 16, 3), 2, test_accuracy=0.5)

    monkeypatch.setattr(Oracle, "of", of)
    copy = shutil.copytree(zoo / "zoo", tmp_path / "zoo")
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            files = sorted((zoo / "week1" / name).iterdir())
            place = tmp_path / "parts" / part / name
            place.mkdir(parents=True)
            for file in files[:6] if part == "train" else files[6:]:
                shutil.copy(file, place)
    for images in (zoo / "week1", tmp_path / "parts"):
        asked = [f"--memory={copy}", f"--images={images}", "--images_per_class=8"]
        assert judge.main(asked) == 0
    assert len({*counts}) == 1
    assert (copy / "samples" / "nearest-03.png").is_file()


def test_a_memory_that_generates_nothing_is_refused_before_its_images_are_read(
    zoo, memory, monkeypatch, capsys
):
    monkeypatch.setattr("dgm_tf.DGM.generates", False)
    assert judge.main([memory, f"--images={zoo}/nowhere"]) == 2
    assert "dgm-w, which generates no images" in capsys.readouterr().err


def test_one_program_runs_every_command(memory, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dgm", "audit", memory])
    assert commands.main() == 0
    assert commands.main(["learn", "--help"]) == 0
    assert "Usage: dgm learn" in capsys.readouterr().out
    assert commands.main([]) == 0 and "  dgm classify" in capsys.readouterr().out
    assert commands.main(["lern"]) == 2 and "no command 'lern'" in capsys.readouterr().err


# Real processes, real training.


def typed(*arguments):
    return [sys.executable, "-m", "trainers.learn", *map(str, arguments)]


def environment():
    """A user's: what the tests set to keep TensorFlow quiet is not there."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def call(*arguments, code=0):
    done = subprocess.run(
        typed(*arguments), cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.slow
def test_a_learn_killed_inside_its_task_resumes_to_the_same_bits_and_has_no_second(tmp_path):
    write(tmp_path / "first", {f"class {n}": 40 * n + 10 for n in range(6)})
    write(tmp_path / "seventh", {"class 6": 250})
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole, cut = (f"--memory={tmp_path}/{name}/zoo" for name in ("whole", "cut"))
    every = "--checkpoint_every=1"
    for memory in (whole, cut):
        call(memory, f"--images={tmp_path}/first", "--together", *TINY)
    call(whole, f"--images={tmp_path}/seventh", every)
    again = (cut, f"--images={tmp_path}/seventh", every)
    running = subprocess.Popen(
        typed(*again), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    unfinished = tmp_path / "cut" / "zoo" / "checkpoints" / "unfinished"
    while running.poll() is None and not list(unfinished.glob("task-02-step-*")):
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGSTOP)  # in the midst of its task
    try:
        second = call(*again, code=2)
    finally:
        running.kill()
    assert running.wait() == -signal.SIGKILL
    assert second.stderr.count("\n") == 1 and "another process is at work in" in second.stderr
    assert "resumed at step" in call(*again).stdout
    left_out = ("report.html", "settings.json")  # times, and the path in the command
    found, wanted = (
        {name: value for name, value in content(tmp_path / each / "zoo").items()
         if name not in left_out}
        for each in ("cut", "whole")
    )  # fmt: skip
    assert found == wanted


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(os.environ.get("TFDS_DATA_DIR", "/none"), "cifar10").is_dir(),
    reason="needs CIFAR-10, prepared",
)
def test_photographs_are_learnt_extended_and_classified_by_commands_alone(tmp_path):
    from dgm_tf.data.datasets import load_data

    data = load_data("cifar10")
    images, labels = data.train_images[:2000], data.train_labels[:2000]
    photographs(tmp_path / "week1", images, labels, data.class_names[:2], count=60)
    photographs(tmp_path / "week2", images, labels - 2, data.class_names[2:3], count=60)
    memory = f"--memory={tmp_path}/photos"
    call(memory, f"--images={tmp_path}/week1", *TINY)
    said = call(memory, f"--images={tmp_path}/week2").stdout.splitlines()[-1]
    line = said.partition(": ")[2].replace("python", sys.executable, 1)
    done = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path, name, probability = done.stdout.rstrip("\n").split("\t")
    assert Path(path).is_file() and name in data.class_names[:3] and 0 < float(probability) <= 1
