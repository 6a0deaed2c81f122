"""Settings from a file or a text: every trainer takes them, flags win, and misfits are refused."""

import dataclasses
import json

import pytest

from dgm_tf.errors import InputError
from dgm_tf.experiments.options import SettingsOptions
from dgm_tf.methods import settings_file
from dgm_tf.methods.presets import settings_for
from tests.refusals import refused
from trainers import train


@pytest.fixture
def file(tmp_path):
    """Writes a settings file and gives the flag that names it."""

    def write(content):
        path = tmp_path / "best.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return f"--settings={path}"

    return write


def parse(*arguments, dataset="digits"):
    given = train.define("toy", dataset, "").parse(arguments)
    return given.of(SettingsOptions).resolve(dataset, given.among(*train.SETTINGS))


@pytest.mark.parametrize("dataset", ["digits", "svhn_cropped", "folder"])
def test_every_trainer_takes_a_file_or_a_text(file, dataset):
    wanted = {"preset": "paper", "variant": "a", "s_max": 500, "replay": "balanced"}
    known = None if dataset == "folder" else dataset
    expected = settings_for(known, variant="a", preset="paper", s_max=500.0, replay="balanced")
    assert parse(file(wanted), dataset=dataset) == expected
    assert parse(f"--settings={json.dumps(wanted)}", dataset=dataset) == expected


def test_flags_win_over_the_file_wherever_they_stand(file):
    given = file({"preset": "paper", "variant": "a", "s_max": 500.0, "jit_compile": True})
    found = parse("--s_max=7", given, "--preset=tuned", "--variant=w", "--nojit_compile")
    assert found == settings_for("digits", variant="w", preset="tuned", s_max=7.0)


def test_a_whole_number_stands_for_a_real_one(file):
    assert type(parse(file({"s_max": 500})).s_max) is float


def test_an_empty_file_changes_nothing(file):
    assert parse(file({})) == settings_for("digits")


@pytest.mark.parametrize("method", ["dgm", "ewc"])
def test_a_runs_own_file_repeats_it(file, method):
    settings = settings_for("mnist", method, preset="paper", seed=7)
    run = {"learner": "x", "settings": dataclasses.asdict(settings), "command": "python"}
    assert parse(f"--method={method}", file(run)) == settings


def test_a_preset_beside_a_file_that_leaves_nothing_to_it_is_refused(file):
    given = file(dataclasses.asdict(settings_for("digits", epochs=3)))
    assert parse(given) == settings_for("digits", epochs=3)
    with pytest.raises(InputError, match="--preset means nothing next to .*best.json"):
        parse(given, "--preset=paper")


@pytest.mark.parametrize(
    ("content", "arguments", "wanted"),
    [
        ({"smax": 3}, (), "has 'smax', which is no setting, did you mean 's_max'?"),
        ({"tasks": 3}, (), "has 'tasks', which is no setting"),
        ({"preset": "gpu"}, (), "preset must be tuned or paper, not 'gpu'"),
        ({"s_max": 3.0}, ("--method=ewc",), "best.json: method ewc has no setting s_max"),
        ({"ewc_strength": 3.0}, (), "best.json: method dgm has no setting ewc_strength"),
        ({"s_max": "high"}, (), "best.json: s_max must be a number of at least 1, got 'high'"),
        ({"epochs": 1.5}, (), "best.json: epochs must be an integer"),
        ({"s_max": True}, (), "best.json: s_max must be a number"),
        ('{"s_max": NaN}', (), "best.json: s_max must be a number"),
        ({"variant": "x"}, (), "best.json: variant must be"),
        ([1], (), "expected a JSON object"),
        ({"learner": ["x"], "settings": {"smax": 3}}, (), "has 'smax', which is no setting"),
        ({"settings": {"s_max": 3}}, (), "has 'settings', which is no setting"),
        ('{"s_max": 3', (), "cannot read --settings="),
    ],
)
def test_what_does_not_fit_is_one_line(file, content, arguments, wanted):
    with pytest.raises(InputError) as error:
        parse(file(content), *arguments)
    assert wanted in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", '{"smax": 3}', "[" * 100_000])
def test_a_text_that_does_not_fit_is_an_input_error(text):
    with pytest.raises(InputError):
        settings_file.read(text)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot read .*nowhere.json: No such file"):
        settings_file.read(tmp_path / "nowhere.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_files_of_windows_programs_are_read(tmp_path, monkeypatch, encoding):
    monkeypatch.setenv("HOME", str(tmp_path))
    marked = '\ufeff{"s_max": 500, "variant": "a"}'
    (tmp_path / "own.json").write_text(marked, encoding)
    expected = settings_for("digits", variant="a", s_max=500.0)
    assert parse("--settings=~/own.json") == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no JSON, from line 1, column 1 on"),
        (b'{"s_max": \xff}', "it is no text in utf-8"),
        (b'{"s_max": 5,}', "it is no JSON, from line 1, column 13 on"),
        (b" " * (2**24 + 1), "it has more than 16 MiB"),
    ],
)
def test_a_file_of_another_kind_is_one_line_of_our_own(tmp_path, content, reason):
    path = tmp_path / "own.json"
    path.write_bytes(content)
    with refused(f"cannot read --settings={path}: {reason}"):
        parse(f"--settings={path}")


def test_a_number_beyond_all_floats_is_one_line():
    with refused("a number that is too large"):
        settings_file.read('{"s_max": 1' + "0" * 400 + "}")
