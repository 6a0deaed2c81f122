"""Settings from a file: every trainer takes them, flags win, and what does not fit is refused."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dgm_tf import settings_file
from dgm_tf.errors import InputError
from dgm_tf.settings import METHODS, recorded, settings_for
from trainers import flags

ROOT = Path(__file__).parent.parent
DATASETS = ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "folder")


@pytest.fixture
def file(tmp_path):
    """Writes a settings file and gives the flag that names it."""

    def write(content):
        path = tmp_path / "best.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return f"--settings={path}"

    return write


def parse(*arguments, dataset="digits"):
    found = flags.define(dataset, images=dataset == "folder")
    images = ["--images=x"] if dataset == "folder" else []
    return found.parse([*arguments, *images], program="p", about="")["settings"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_trainer_takes_a_file(file, dataset):
    given = file({"preset": "paper", "variant": "a", "s_max": 500, "replay": "balanced"})
    expected = settings_for(dataset, "a", "paper", s_max=500.0, replay="balanced")
    assert parse(given, dataset=dataset) == expected


def test_flags_win_over_the_file_wherever_they_stand(file):
    given = file({"preset": "paper", "variant": "a", "s_max": 500.0, "sparsity_follows_size": True})
    found = parse("--s_max=7", given, "--preset=cpu", "--variant=w", "--nosparsity_follows_size")
    assert found == settings_for("digits", "w", "cpu", s_max=7.0, sparsity_follows_size=False)


def test_a_whole_number_stands_for_a_real_one(file):
    assert type(parse(file({"s_max": 500})).s_max) is float


def test_an_empty_file_changes_nothing(file):
    assert parse(file({})) == settings_for("digits")


# One run is older than any version: it names a setting that there never was in one.
RUNS = [
    path
    for path in sorted((ROOT / "results").rglob("settings.json"))
    if "consolidation_real_weight" not in path.read_text()
]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_a_runs_own_file_repeats_it(path):
    kept = json.loads(path.read_text())
    method = "dgm" if kept["learner"].startswith("dgm-") else kept["learner"]
    found = parse(f"--method={method}", f"--settings={path}", dataset="mnist")
    assert found == recorded(METHODS[method], kept["settings"])


def test_a_preset_beside_a_file_that_leaves_nothing_to_it_is_refused(file):
    given = file(dataclasses.asdict(settings_for("digits", epochs=3)))
    assert parse(given) == settings_for("digits", epochs=3)
    with pytest.raises(InputError, match="--preset means nothing beside .*best.json"):
        parse(given, "--preset=paper")


def test_a_runs_file_without_later_settings_means_what_was_done_then(file):
    run = {"learner": "dgm-a", "settings": {"variant": "a", "epochs": 3}, "command": "python"}
    found = parse(file(run), "--seed=5")
    assert (found.variant, found.epochs, found.seed) == ("a", 3, 5)
    assert (found.critic_initializer, found.annealed_share, found.beta_2) == ("normal", 1, 0.999)


@pytest.mark.parametrize(
    ("content", "arguments", "wanted"),
    [
        ({"smax": 3}, (), "has 'smax', which is no setting, did you mean 's_max'?"),
        ({"tasks": 3}, (), "has 'tasks', which is no setting"),
        ({"preset": "gpu"}, (), "preset must be cpu or paper, not 'gpu'"),
        ({"s_max": 3.0}, ("--method=ewc",), "best.json: s_max mean nothing to method ewc"),
        ({"ewc_strength": 3.0}, (), "best.json: ewc_strength mean nothing to method dgm"),
        ({"s_max": "high"}, (), "best.json: s_max must be a number of at least 1, got 'high'"),
        ({"epochs": 1.5}, (), "best.json: epochs must be an integer"),
        ({"s_max": True}, (), "best.json: s_max must be a number"),
        ('{"s_max": NaN}', (), "best.json: s_max must be a number"),
        ({"variant": "x"}, (), "best.json: variant must be"),
        ([1], (), "expected a JSON object"),
        ({"learner": "x", "settings": {"smax": 3}}, (), "has 'smax', which is no setting"),
        ({"learner": ["x"], "settings": {"smax": 3}}, (), "has 'smax', which is no setting"),
        ({"learner": "ewc", "settings": {"ewc_strength": 1.0}}, (), "mean nothing to method dgm"),
        ({"settings": {"s_max": 3}}, (), "has 'settings', which is no setting"),
        ('{"s_max": 3', (), "cannot read --settings="),
    ],
)
def test_what_does_not_fit_is_one_line(file, content, arguments, wanted):
    with pytest.raises(InputError) as error:
        parse(file(content), *arguments)
    assert wanted in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot read .*nowhere.json: No such file"):
        settings_file.read(tmp_path / "nowhere.json")


def test_the_committed_settings_fit_their_trainer():
    (path,) = (ROOT / "results" / "tuning" / "digits").glob("best.json")
    found = parse(f"--settings={path}")
    assert (found.s_max, found.sparsity) != (1e4, 0.08)
    # Everything else is the preset's: the search looked for nothing else.
    given = settings_for("digits", found.variant, s_max=found.s_max, sparsity=found.sparsity)
    assert found == given


def test_a_wrong_file_does_not_wait_for_tensorflow(file):
    program = (
        "import sys; from trainers import split_digits, tune; "
        "codes = [main([sys.argv[1], '--dataset=digits'][:n]) "
        "for main, n in ((split_digits.main, 1), (tune.main, 2))]; "
        'sys.exit(f\'{codes} {"tensorflow" in sys.modules} {"keras_tuner" in sys.modules}\')'
    )
    done = subprocess.run(
        [sys.executable, "-c", program, file({"smax": 3})],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "[2, 2] False False"
