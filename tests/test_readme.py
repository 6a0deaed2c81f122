"""What README.md says can be typed, named and run."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from dgm_tf.datasets import NAMES
from dgm_tf.presets import PRESETS
from dgm_tf.tuning import space

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
TUNING = (ROOT / "docs" / "how-to" / "tune.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
NO_COMMANDS = ("train", "__main__")
MODULES = {
    path.stem: importlib.import_module(f"trainers.{path.stem}")
    for path in (ROOT / "trainers").glob("*.py")
    if re.search(r"^(def main|main = )", path.read_text(), re.M) and path.stem not in NO_COMMANDS
}
COMMANDS = re.findall(r"^    (\S.*?)\s*(?:#.*)?$", TEXT, re.M)


def _example(start):
    (found,) = [example for example in EXAMPLES if start in example]
    return found


def test_every_make_target_named_exists():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = re.findall(r"^make (?:\w+=\S+ )?([a-z-]+)", "\n".join(COMMANDS), re.M)
    named += re.findall(r"`make (?:\w+=\S+ )?([a-z-]+)`", TEXT)
    assert {"demo", "test", "test-serving"} <= set(named) <= set(targets)


@pytest.mark.parametrize(
    "command", [line for line in COMMANDS if line.startswith("python -m trainers.")]
)
def test_the_trainers_take_the_commands(command, tmp_path, monkeypatch):
    program, *arguments = shlex.split(command)[2:]
    for file in re.findall(r"--settings=([^{\s]+)", command):  # what an earlier command wrote
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("{}")
        monkeypatch.chdir(tmp_path)
    assert MODULES[program.removeprefix("trainers.")].define().parse(arguments)


def test_every_flag_named_is_a_flag_of_some_trainer():
    known = {"help", "helpfull", "dir", "all"}  # the last two are those of saved_model_cli
    for module in MODULES.values():
        known |= set(module.define().names())
    for benchmark in (ROOT / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', benchmark.read_text()))
    known |= {"logdir"}  # TensorBoard's own
    named = set(re.findall(r"--(\w+)", TEXT + TUNING))
    assert {name.removeprefix("no") if name not in known else name for name in named} <= known


def test_the_data_sets_and_presets_named_are_those_there_are():
    for name in (*NAMES, *PRESETS):
        assert re.search(rf"\b{name}\b", TEXT), name


def test_the_ranges_named_are_those_that_are_searched():
    table = TUNING.partition("| setting | range |")[2].partition("\n\n")[0]
    named = {
        name: values
        for names, values in re.findall(r"^\| (`.*) \| (.*) \|$", table, re.M)
        for name in re.findall(r"\w+", names)
    }
    assert named == {name: str(values) for name, values in space.RANGES.items()}


def test_links_lead_to_headings():
    headings = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= headings


def test_the_layer_example_runs():
    names = {}
    exec(_example("MaskedDense"), names)
    assert names["gradient"].shape == (16, 8)
    assert names["layer"].units == 12
    assert names["old"].shape == (32, 8)


@pytest.mark.slow
def test_the_first_example_ends_where_the_text_says(capsys):
    (wanted,) = re.findall(r"ends above (\d+) %", TEXT)
    exec(_example("class_incremental"), {})
    shown = capsys.readouterr().out.splitlines()
    lines = [line for line in shown if line.endswith("test images)")]  # and not the progress
    assert [line.split(":")[0] for line in lines] == [f"task {n} of 10" for n in range(1, 11)]
    (accuracy,) = re.findall(r"accuracy ([\d.]+) %", lines[-1])
    assert float(accuracy) > float(wanted)


def test_the_files_named_are_there():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT)
    pictures = re.findall(r'<img src="([^"]*)"', TEXT)
    assert [path for path in links + pictures if not (ROOT / path).exists()] == []
