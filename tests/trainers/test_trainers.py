"""The trainers as a user meets them: real commands, real digits, a DGM too small to be good."""

import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dgm_tf.errors import InputError
from dgm_tf.settings import METHODS, settings_for
from dgm_tf.storage.checkpoint import Every
from trainers import flags, split_digits, split_folder

ROOT = Path(__file__).parents[2]
TRAINERS = sorted(path.stem for path in (ROOT / "trainers").glob("split_*.py"))
TINY = [
    "--classes_per_task=5", "--epochs=1", "--batch_size=60", "--generator_size=2",
    "--critic_size=4", "--consolidation_steps=10", "--replay_buffer=128",
]  # fmt: skip


def command(trainer, *arguments):
    return [sys.executable, "-m", f"trainers.{trainer}", *arguments]


def environment():
    """A user's environment: what the tests set to keep TensorFlow quiet is not there."""
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return kept | {"PYTHONUNBUFFERED": "1"}


def call(trainer, *arguments):
    return subprocess.run(
        command(trainer, *arguments), cwd=ROOT, env=environment(), capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


def parse(*arguments, dataset="digits"):
    return flags.define(dataset).parse(arguments, program="python -m toy", about="A toy.")


# Runs.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two tasks that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, call("split_digits", *TINY, f"--run_dir={folder}")


def numbers(folder):
    """Everything that a run measured or made, by file."""
    found = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        differing = ("seconds", "evaluation_seconds", "peak_memory_mib")
        found[row["task"]] = {k: v for k, v in row.items() if k not in differing}
    for pattern in ("*.csv", "samples/*", "audit/*", "checkpoints/*/arrays.safetensors"):
        for path in folder.glob(pattern):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_a_run_ends_with_its_tables_and_leaves_its_files(whole):
    folder, done = whole
    assert done.returncode == 0, done.stderr
    for text in (
        "class-incremental, 2 tasks of 5 classes", "task 2 of 2: classes 5, 6, 7, 8, 9: learnt in",
        "memory audit: images of 1 earlier task identical", "A_t", "Growth of the generator",
        "task 1: identical after 1 later task", f"Pictures: {folder}/samples/",
    ):  # fmt: skip
        assert text in done.stdout
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["task"] for row in rows] == [1, 2]
    wanted = {
        "classes_seen", "average_accuracy", "class_accuracy", "forgetting", "audit", "steps",
        "generator_parameters", "layer_widths", "free_fraction", "seconds",
    }  # fmt: skip
    assert wanted <= set(rows[0]) and rows[1]["audit"] == {"1": 0}
    # All that the first task uses is newly reserved.
    assert rows[0]["mask_overlap"] == [sum(layer["reserved"] for layer in rows[0]["layers"])]
    assert {"generator_loss", "mask_sparsity"} <= set(rows[1]["history"])
    page = (folder / "report.html").read_text()
    assert "DGMw on digits" in page and page.count("<img ") == 5 + 5 + 5
    assert "Mask overlap" in page and f"Page: {folder}/report.html" in done.stdout
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["settings"]["generator_size"] == 2
    assert "python -m trainers.split_digits --classes_per_task=5" in settings["command"]


def test_a_pipe_gets_no_control_characters_and_no_log_of_tensorflow(whole):
    _, done = whole
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", done.stdout + done.stderr)
    assert not re.search(r"^[IWEF]\d{4} |absl::InitializeLog", done.stderr, re.MULTILINE)


BETWEEN = "stopped; the same command goes on after task 1"
OUTSIDE = "stopped; the same command goes on from the last checkpoint"  # nothing is being learnt
INSIDE = r"stopped at step \d+ of a task; the same command goes on from there"


@pytest.mark.parametrize(
    ("asked", "code", "every", "line"),
    [
        (signal.SIGINT, 130, "0", f"{BETWEEN}|{INSIDE}|{OUTSIDE}"),
        (signal.SIGTERM, 143, "1", INSIDE),
    ],
)
def test_a_run_stopped_by_a_signal_goes_on_with_the_same_numbers(
    whole, tmp_path, asked, code, every, line
):
    arguments = [*TINY, f"--run_dir={tmp_path}", f"--checkpoint_every={every}"]
    stopped = subprocess.Popen(
        command("split_digits", *arguments), cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for output in stopped.stdout:
        if output.startswith("task 1 of 2"):
            break
    if every == "1":
        while stopped.poll() is None and not list(tmp_path.glob("checkpoints/*/task-02-step-*")):
            time.sleep(0.01)
    stopped.send_signal(asked)
    _, error = stopped.communicate(timeout=300)
    assert stopped.returncode == code
    assert re.fullmatch(f"({line})\n", error)
    assert list(numbers(tmp_path))[0] == 1 and 2 not in numbers(tmp_path)

    resumed = call("split_digits", *arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after task 1" in resumed.stdout
    if every == "1":
        assert re.search(r"task 2 of 2: .*: going on at step \d+", resumed.stdout)
    assert numbers(tmp_path) == numbers(whole[0])


def test_a_folder_with_another_run_is_refused_with_one_line(whole, capsys):
    folder, _ = whole
    before = numbers(folder)
    arguments = [*TINY, f"--run_dir={folder}", "--s_max=500", "--class_order=random"]
    assert split_digits.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "settings.s_max is 10000.0 there, 500.0 here" in error
    assert "stream.task_classes" in error and "--run_dir" in error
    assert numbers(folder) == before


# Bad input: one line, exit code 2.


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--classes_per_task=3"], "does not divide the 10 classes"),
        (["--classes_per_task=5,3"], "sum up to the 10 classes"),
        (["--class_order=0,1,2"], "permutation"),
        (["--batch_size=1000"], "must not be larger than a class"),
        (["--latent_dim=8"], "10 classes, --latent_dim is 8"),
        (["--replay_buffer=9"], "10 classes, --replay_buffer is 9"),
        (["--image_size=20"], "multiple of 8"),
        (["--validation_fraction=1.5"], "validation_fraction"),
        (["--tasks=11"], "--tasks from 1 to 10"),
        (["--run_dir={tmp_path}/file/run"], "cannot write"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(arguments, wanted, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = [argument.format(tmp_path=tmp_path) for argument in arguments]
    assert split_digits.main([f"--run_dir={tmp_path}/run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert wanted in captured.err and captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_of_images_must_be_named_and_hold_classes(tmp_path, capsys):
    assert split_folder.main([]) == 2
    assert "--images=DIR" in capsys.readouterr().err
    (tmp_path / "images" / "only").mkdir(parents=True)
    run_dir = f"--run_dir={tmp_path}/run"
    assert split_folder.main([f"--images={tmp_path}/images", run_dir]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("--epoch=3", "unknown command line flag 'epoch'. Did you mean: epochs"),
        ("--epochs=many", "flag --epochs=many: expected a whole number"),
        ("--epochs=1.5", "expected a whole number"),
        ("--s_max=nan", "expected a number"),
        ("--epochs", "missing value for flag --epochs"),
        ("--variant=x", "flag --variant=x: value should be one of <w|a>"),
        ("--preset=gpu", "value should be one of"),
        ("--quiet=perhaps", "expected true or false"),
        ("--checkpoint_every=often", "expected a number of steps such as 500, a time such as 5m"),
        ("--checkpoint_every=-1", "expected a number of steps"),
        ("--class_order=up", "expected random, or class ids"),
        ("--classes_per_task=a,b", "expected a whole number, or one per task"),
        ("mnist", "expected flags as --name=value, received 'mnist'"),
    ],
)
def test_a_wrong_flag_is_an_input_error_of_one_line(argument, wanted):
    with pytest.raises(InputError) as error:
        parse(argument)
    assert wanted in str(error.value) and "\n" not in str(error.value)


def test_a_setting_out_of_range_is_an_input_error():
    with pytest.raises(InputError, match="epochs"):
        parse("--epochs=0")


# Flags.


def test_wrong_flags_and_help_do_not_wait_for_tensorflow():
    program = (
        "import sys; from trainers import split_digits; "
        "codes = [split_digits.main([a]) for a in ('--help', '--epoch=3', '--variant=x')]; "
        "sys.exit(f'{codes} {\"tensorflow\" in sys.modules}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "[0, 2, 2] False"


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_has_help_with_every_setting(trainer):
    done = call(trainer, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert f"python -m trainers.{trainer} [--flag=value ...]" in done.stdout
    for field in itertools.chain(*map(dataclasses.fields, METHODS.values())):
        assert re.search(rf"^  --(\[no\])?{field.name}\b", done.stdout, re.MULTILINE), field.name
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_help_names_what_each_preset_has():
    text = flags.define("mnist").help(program="p", about="A toy.")
    for preset in ("cpu", "paper"):
        epochs = settings_for("mnist", "w", preset).epochs
        assert re.search(rf"\(I in Eq. 3\).*{preset}: {epochs}\b", " ".join(text.split()))


def test_flags_left_out_leave_the_presets_settings():
    for preset in ("cpu", "paper"):
        for variant in ("w", "a"):
            found = parse(f"--preset={preset}", f"--variant={variant}", dataset="mnist")
            assert found["settings"] == settings_for("mnist", variant, preset)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_its_own_flags_and_refuses_the_others(method):
    own = {field.name for field in dataclasses.fields(METHODS[method])}
    assert parse(f"--method={method}", dataset="mnist")["settings"] == settings_for(
        "mnist", method=method
    )
    for name, text in (("s_max", "7"), ("critic_steps", "3"), ("ewc_strength", "2"),
                       ("alignment", "0.5"), ("new_share", "0.25"), ("variant", "a"),
                       ("learning_rate", "0.5"), ("epochs", "9")):  # fmt: skip
        arguments = (f"--method={method}", f"--{name}={text}")
        if name in own:
            assert str(getattr(parse(*arguments)["settings"], name)) in (text, f"{text}.0")
        else:
            with pytest.raises(InputError, match=f"--{name} means nothing to --method={method}"):
                parse(*arguments)


@pytest.mark.parametrize("method", METHODS)
def test_a_flag_has_the_choices_of_each_method(method):
    arguments = (f"--method={method}", "--consolidation_start=critic")
    if method == "dgm":
        assert parse(*arguments)["settings"].consolidation_start == "critic"
    else:
        wanted = "must be new or previous, not 'critic', which is for the method dgm$"
        with pytest.raises(InputError, match=wanted):
            parse(*arguments)


def test_a_flag_of_every_type_reaches_the_settings():
    arguments = ("--seed=7", "--sparsity=0.25", "--replay=full", "--nosparsity_follows_size")
    expected = settings_for(
        "digits", "w", "cpu", seed=7, sparsity=0.25, replay="full", sparsity_follows_size=False
    )
    assert parse(*arguments)["settings"] == expected


def test_what_to_learn_reaches_the_stream():
    found = parse(
        "--classes_per_task=5,3,2", "--class_order=3,1,0,2,4,5,6,7,8,9", "--tasks=2",
        "--validation_fraction=0.1", "--image_size=24", "--data_dir=/data", "--quiet",
    )  # fmt: skip
    assert found["classes_per_task"] == (5, 3, 2) and found["class_order"][:4] == (3, 1, 0, 2)
    assert found["tasks"] == 2 and found["validation_fraction"] == 0.1
    assert found["image_size"] == 24 and found["data_dir"] == "/data" and found["quiet"]
    assert parse("--class_order=random")["class_order"] == "random"
    assert parse("--classes_per_task=2")["classes_per_task"] == 2


def test_the_validation_part_is_the_papers_unless_given():
    assert parse(dataset="svhn_cropped")["validation_fraction"] == 0.10
    assert parse(dataset="mnist")["validation_fraction"] == 0.15


def test_the_command_line_is_recorded_as_it_can_be_typed_again(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert parse("--run_dir=my run")["command"] == "python -m toy '--run_dir=my run'"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert parse()["command"] == "TF_ENABLE_ONEDNN_OPTS=1 python -m toy"


def test_flags_can_stand_in_a_file(tmp_path):
    (tmp_path / "flags").write_text("--epochs=3\n--seed=5\n")
    settings = parse(f"--flagfile={tmp_path}/flags", "--seed=6")["settings"]
    assert (settings.epochs, settings.seed) == (3, 6)


@pytest.mark.parametrize(
    ("arguments", "quiet", "epoch_lines"),
    [
        ([], False, False),
        (["--quiet"], True, False),
        (["--verbosity=0"], True, False),
        (["--verbosity=2"], False, True),
        (["--verbosity=2", "--quiet"], True, False),
    ],
)
def test_verbosity_says_how_much_is_printed(arguments, quiet, epoch_lines):
    found = parse(*arguments)
    assert (found["quiet"], found["epoch_lines"]) == (quiet, epoch_lines)
    assert "verbosity" not in found


@pytest.mark.parametrize(
    ("text", "steps", "seconds"),
    [("500", 500, 0), ("90s", 0, 90), ("5m", 0, 300), ("2h", 0, 7200), ("0", 0, 0), ("0m", 0, 0)],
)
def test_checkpoints_are_written_every_so_many_steps_or_so_much_time(text, steps, seconds):
    assert parse(f"--checkpoint_every={text}")["checkpoint_every"] == Every(steps, seconds)
    assert parse()["checkpoint_every"] == Every(seconds=300)
