"""Command lines: what is read, what is refused in one line, and the help text."""

import dataclasses
import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import trainers.__main__
from dgm_tf.errors import Diverged, InputError, PeerLost
from dgm_tf.experiments.options import RunOptions, SettingsOptions, StreamOptions
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.registry import METHODS
from dgm_tf.storage.checkpoint import Every
from dgm_tf.terminal import stopping
from trainers import audit, classify, command, export, judge, learn, report, sample, show, train
from trainers.flags import HelpAsked, quoted

ROOT = Path(__file__).parents[2]
TRAINERS = sorted(path.stem for path in (ROOT / "trainers").glob("split_*.py"))
COMMANDS = [
    importlib.import_module(f"trainers.{path.stem}")
    for paths in trainers.__main__.commands().values()
    for path in paths
]


def parse(*arguments, dataset="digits"):
    return train.define("toy", dataset, "A toy.").parse(arguments)


def settings(*arguments, dataset="digits"):
    given = parse(*arguments, dataset=dataset)
    return given.of(SettingsOptions).resolve(dataset, given.among(*train.SETTINGS))


def help_of(*arguments, dataset="digits"):
    with pytest.raises(HelpAsked) as asked:
        parse(*arguments, dataset=dataset)
    return " ".join(str(asked.value).split())


# What is refused.


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("--epoch=3", "unknown command line flag 'epoch'. Did you mean: epochs"),
        ("--tasks=3", "unknown command line flag 'tasks'. Did you mean: max_tasks"),
        ("--max-tasks=3", "Did you mean: max_tasks"),
        ("--size=3", "Did you mean: image_size, batch_size, critic_size"),
        ("--xyz", "unknown command line flag 'xyz' (--help"),
        ("--run_dir=", "expected a path, received ''"),
        ("--flagfile=/", "unable to open flagfile: [Errno 21] Is a directory"),
        ("--epochs=many", "flag --epochs=many: expected a whole number"),
        ("--epochs=1.5", "expected a whole number"),
        ("--s_max=nan", "expected a number"),
        ("--epochs", "missing value for flag --epochs"),
        ("--variant=x", "flag --variant=x: expected w or a"),
        ("--preset=gpu", "expected tuned or paper"),
        ("--verbosity=3", "expected 0 or 1 or 2"),
        ("--oracle=perhaps", "expected true or false"),
        ("--checkpoint_every=often", "expected a number of steps such as 500, a time such as 5m"),
        ("--checkpoint_every=-1", "expected a number of steps"),
        ("--class_order=3,,1", "expected random, or classes such as"),
        ("--classes_per_task=a,b", "expected a whole number, or one per task"),
        ("mnist", "expected flags as --name=value, received 'mnist'"),
    ],
)
def test_a_wrong_flag_is_an_input_error_of_one_line(argument, wanted):
    with pytest.raises(InputError) as error:
        parse(argument)
    assert wanted in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_stands_alone_is_told_its_flag(capsys):
    for each in (export, judge, sample, show, learn):
        assert each.main(["my runs/x"]) == 2
        assert capsys.readouterr().err == (
            "error: expected flags as --name=value, received 'my runs/x': name the folder by "
            "'--memory=my runs/x'\n"
        )
    assert sample.main(["--memory=runs/x", "other"]) == 2
    assert capsys.readouterr().err.endswith("received 'other'\n")
    with pytest.raises(InputError, match="received 'mnist'$"):
        parse("mnist")


def test_a_setting_out_of_range_is_an_input_error():
    with pytest.raises(InputError, match="batch_size"):
        settings("--batch_size=0")


def test_a_flag_that_is_missing_is_named(capsys):
    needed = (export, judge, sample, classify, learn, audit, report)
    assert [each.main([]) for each in needed] == [2] * 7
    error = capsys.readouterr().err
    assert error.count("expected --memory=DIR, folder of a memory or of another run") == 4
    assert error.count("expected --memory=DIR, folder of the memory; the first command") == 1
    assert error.count("expected one RUN or more") == 2


# What is read.


def test_flags_left_out_leave_the_presets_settings():
    for preset in ("tuned", "paper"):
        for variant in ("w", "a"):
            found = settings(f"--preset={preset}", f"--variant={variant}", dataset="mnist")
            assert found == settings_for("mnist", variant=variant, preset=preset)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_its_own_flags_and_refuses_the_others(method):
    own = {field.name for field in dataclasses.fields(METHODS[method].settings)}
    assert settings(f"--method={method}") == settings_for("digits", method=method)
    for name, text in (("s_max", "7"), ("variant", "a"), ("learning_rate", "0.5"), ("epochs", "9")):
        arguments = (f"--method={method}", f"--{name}={text}")
        if name in own:
            assert str(getattr(settings(*arguments), name)) in (text, f"{text}.0")
        else:
            with pytest.raises(InputError, match=f"--{name} means nothing to --method={method}"):
                settings(*arguments)


def test_a_choice_of_another_method_is_refused():
    assert settings("--consolidation_start=critic").consolidation_start == "critic"
    with pytest.raises(InputError, match="must be new or previous, not 'critic'"):
        settings("--consolidation_start=critic", "--method=ewc")


def test_a_flag_of_every_type_reaches_its_options():
    found = settings("--seed=7", "--sparsity=0.25", "--replay=full", "--jit_compile")
    wanted = {"seed": 7, "sparsity": 0.25, "replay": "full", "jit_compile": True}
    assert found == settings_for("digits", **wanted)
    given = parse(
        "--classes_per_task=5,3,2", "--class_order=3,1,0,2,4,5,6,7,8,9", "--max_tasks=2",
        "--validation_fraction=0.1", "--image_size=24", "--data_dir=/data", "--nooracle",
        "--verbosity=2", "--checkpoint_every=90s",
    )  # fmt: skip
    assert given.of(StreamOptions, dataset="digits") == StreamOptions(
        "digits", data_dir="/data", classes_per_task=(5, 3, 2), max_tasks=2,
        class_order=tuple("3102456789"), validation_fraction=0.1, image_size=24,
    )  # fmt: skip
    options = given.of(RunOptions)
    assert options == RunOptions(oracle=False, verbosity=2, checkpoint_every=Every(seconds=90))
    random = parse("--class_order=random", "--classes_per_task=2").of(StreamOptions, dataset="x")
    assert (random.class_order, random.classes_per_task) == ("random", 2)


@pytest.mark.parametrize(
    ("text", "steps", "seconds"),
    [("500", 500, 0), ("90s", 0, 90), ("5m", 0, 300), ("2h", 0, 7200), ("0", 0, 0), ("0m", 0, 0)],
)
def test_checkpoints_are_written_every_so_many_steps_or_so_much_time(text, steps, seconds):
    found = parse(f"--checkpoint_every={text}").of(RunOptions)
    assert found.checkpoint_every == Every(steps, seconds)


def test_the_command_line_is_recorded_as_it_can_be_typed_again(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert parse("--run_dir=my run").command == "python -m trainers.toy '--run_dir=my run'"
    for value, recorded in (("1", True), ("False", True), ("2", False), ("", False)):
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", value)
        switch = f"TF_ENABLE_ONEDNN_OPTS={value} " if recorded else ""
        assert parse().command == f"{switch}python -m trainers.toy"


@pytest.mark.parametrize(
    "name", ["my run", "it's", "caf\udce9", "two\nlines", "$HOME", "~/x", "\\x41"]
)
def test_a_shell_reads_the_recorded_command_back(name):
    line = quoted(["printf", "%s", f"--run_dir={name}"])
    assert line.isprintable() and line.isascii()
    found = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert found == os.fsencode(f"--run_dir={name}")


def test_arguments_that_are_paths_know_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/of/mine")
    assert classify.define().parse(["--memory=~/m", "~/a.png", "b.png"]).others == (
        "/of/mine/a.png", "b.png",
    )  # fmt: skip
    assert "'--run_dir=~/x'" in parse("--run_dir=~/x").command  # as it was typed


def test_flags_can_stand_in_a_file(tmp_path):
    (tmp_path / "flags").write_text("--epochs=3\n--seed=5\n")
    found = settings(f"--flagfile={tmp_path}/flags", "--seed=6")
    assert (found.epochs, found.seed) == (3, 6)
    (tmp_path / "flags").write_text("--epochs=3\n", encoding="utf-16")
    with pytest.raises(InputError, match="a --flagfile cannot be read: it is no text in utf-8"):
        settings(f"--flagfile={tmp_path}/flags")


# Help.


def test_help_shows_what_matters_with_the_values_of_this_very_command():
    text = help_of("--help", "--method=ewc", "--preset=paper", "--seed=3", dataset="mnist")
    epochs = settings_for("mnist", "ewc", preset="paper").epochs
    for wanted in (f"images; 0: as many as --steps needs [{epochs}]", "[3]", "[paper]"):
        assert wanted in text
    assert "--variant=w|a" not in text and "--batch_size" not in text
    assert text.index("Examples:") < text.index("--method=") and "--helpfull shows all" in text


def test_full_help_has_every_flag_and_every_setting_of_the_method():
    text = help_of("--helpfull")
    names = [field.name for field in dataclasses.fields(METHODS["dgm"].settings)]
    names += [field.name for field in dataclasses.fields(RunOptions) if field.metadata]
    for name in names:
        assert f"--{name}=" in text or f"--[no]{name} " in text or f" {name} " in text, name


def test_a_trainer_has_few_flags():
    assert len(train.define("toy", "digits", "").names()) <= 35


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__)
def test_every_command_has_help_of_short_lines_with_examples(module, capsys):
    assert module.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(".") and lines[1:3] == ["", "Examples:"]
    assert max(map(len, lines)) <= 100
    examples = [line for line in lines if line.startswith(f"  python -m {module.__name__} ")]
    assert len(examples) >= 2
    for line in examples:
        assert module.define().parse(shlex.split(line)[3:])


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__)
def test_help_shows_at_most_eight_flags(module, capsys):
    assert module.main(["--help"]) == 0
    assert len(re.findall(r"^  --", capsys.readouterr().out, re.M)) <= 8


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__)
def test_full_help_shows_every_flag_by_group(module, capsys):
    assert module.main(["--helpfull"]) == 0
    text = capsys.readouterr().out
    flags = re.findall(r"^  --(?:\[no\])?(\w+)", text, re.M)
    assert len(flags) == len(set(flags))
    # A trainer of DGM leaves out the flags of other methods only, and there is none.
    assert set(flags) == set(module.define().names())


def test_all_commands_are_listed():
    text = trainers.__main__.listing()
    names = {path.stem for path in (ROOT / "trainers").glob("*.py")}
    helpers = {"__init__", "__main__", "command", "flags", "own_methods", "train"}
    for name in names - helpers:
        assert f"python -m trainers.{name} " in text
    assert not any(f"trainers.{name} " in text for name in helpers)


def test_wrong_flags_wrong_settings_and_help_do_not_wait_for_tensorflow(tmp_path):
    (tmp_path / "own.json").write_text('{"smax": 3}')
    program = (
        "import sys; from trainers import __main__ as dgm, split_digits, tune; own = sys.argv[1]; "
        "codes = {split_digits.main([flag]) for flag in ('--epoch=3', '--variant=x', own)}; "
        "codes |= {tune.main([own, '--dataset=digits'])}; "
        "names = [path.stem for paths in dgm.commands().values() for path in paths]; "
        "codes |= {dgm.main([name, '--help']) for name in names}; "
        'sys.exit(f\'{codes} {sys.modules.keys() & {"tensorflow", "keras_tuner"}}\')'
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"--settings={tmp_path}/own.json"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    *wrong, last = done.stderr.splitlines()
    assert last == "{0, 2} set()" and [line[:7] for line in wrong] == ["error: "] * 4


# How a command ends.


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("wrong"), 2), (Diverged("loss", "epoch 1"), 3), (PeerLost("gone"), 4),
    ],
)  # fmt: skip
def test_an_error_becomes_one_line_and_an_exit_code(error, code, capsys):
    with command.outcome() as outcome:
        raise error
    assert outcome.code == code
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.parametrize("error", [ZeroDivisionError(), BrokenPipeError("not of the output")])
def test_a_fault_of_the_program_keeps_its_traceback(error):
    with pytest.raises(type(error)), command.outcome():
        raise error


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_at_its_next_look(signum, capsys):
    with command.outcome() as outcome, stopping.watched():
        os.kill(os.getpid(), signum)
        assert stopping.requested()
        raise stopping.Stopped("stopped at a good place")
    assert outcome.code == 128 + signum
    assert capsys.readouterr().err == "stopped at a good place\n"


def test_a_signal_ends_a_command_that_does_not_look_at_once():
    program = (
        "import os, signal, time; from trainers import command\n"
        "with command.outcome('stopped; nothing is lost'): os.kill(os.getpid(), signal.SIGTERM); "
        "time.sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (143, "stopped; nothing is lost\n")


# Output that cannot be written, as a shell leads it somewhere.


def shell(redirection, body):
    """The exit code and the standard error of a command with this body."""
    program = (
        "import os, sys; from trainers import command; from dgm_tf.errors import InputError\n"
        f"with command.outcome() as outcome: {body}\n"
        "sys.exit(outcome.code)"
    )
    line = f'unset PYTHONUNBUFFERED; "$0" -c "$1" {redirection}'  # what waits in a buffer counts
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line, sys.executable, program],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stderr


LINES = "[print(number, flush=True) for number in range(99)]; open('/dev/null').read()"
LOST = "error: output is lost, it cannot be written: No space left on device\n"
MANY = "[command.say('x' * 999) for number in range(999)]; outcome.code = 1"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
@pytest.mark.parametrize(
    ("redirection", "body", "code", "error"),
    [
        (">/dev/full", LINES, 2, LOST),
        (">/dev/full", "print('not flushed')", 2, LOST),
        (">/dev/full", MANY, 1, LOST),  # its own code tells more
        ("| true", MANY, 141, ""),
        ("| head -1 >/dev/null", MANY, 141, ""),
        (">/dev/null 2>&-", "print(1); print(2, file=sys.stderr)", 0, ""),
        (">&-", LINES, 0, ""),
        ("2>/dev/full", "raise InputError('unsaid')", 2, ""),
        ("2>&1 | true", "raise InputError('unsaid' * 99999)", 2, ""),
    ],
)
def test_output_that_cannot_be_written_is_no_traceback(redirection, body, code, error):
    assert shell(redirection, body) == (code, error)


def test_what_is_opened_does_not_take_the_place_of_a_closed_stream(tmp_path):
    data = tmp_path / "data"
    assert shell("2>&-", f"file = open({str(data)!r}, 'w'); os.write(2, b'log')") == (0, "")
    assert data.read_text() == ""
