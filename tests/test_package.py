"""The packages that are published: what they hold, and that they work outside the checkout."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import dgm_tf

ROOT = Path(__file__).parent.parent
# README.md's first example, tiny.
FIRST = """
import dgm_tf

stream = dgm_tf.class_incremental("digits")
model = dgm_tf.DGM.from_preset(
    "digits", steps=20, batch_size=16, generator_size=2, critic_size=2, consolidation_steps=5
)
for task in stream:
    model.learn(task, verbose=0)
    print(task, model.evaluate(stream.seen_test(task)))
    if len(model.classes_seen) == 2:
        break
model.save("digits.dgm")
print(dgm_tf.load("digits.dgm").audit(), dgm_tf.__file__)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("build"), reason="needs the package build"),
]


def run(*command, cwd):
    """Runs a command that knows nothing of the checkout, and returns what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def not_sources(folder, names):
    """What is left out of a copy of the checkout: environments, results, and what was made."""
    if Path(folder) != ROOT:
        return {"__pycache__"} & {*names}
    made = {"runs", "results", "site", "dist"} & {*names}
    return made | {name for name in names if re.match(r"\.|bazel-|.*\.egg-info$", name)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source package, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("package")
    source = shutil.copytree(ROOT, folder / "source", ignore=not_sources)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (archive,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return archive, wheel


def test_the_wheel_puts_two_packages_into_an_environment_and_all_their_files(built):
    names = zipfile.ZipFile(built[1]).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"dgm_tf", "trainers", f"dgm_tf-{dgm_tf.__version__}.dist-info"}
    for package in ("dgm_tf", "trainers"):
        here = {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        assert here == {name for name in names if name.startswith(f"{package}/")}


def test_the_metadata_has_what_an_index_shows(built):
    with zipfile.ZipFile(built[1]) as wheel:
        (name,) = [each for each in wheel.namelist() if each.endswith(".dist-info/METADATA")]
        text = wheel.read(name).decode()
    addresses = re.findall(r"^Project-URL: (\w+), ", text, re.M)
    assert addresses == ["Repository", "Documentation", "Issues", "Changelog"]
    assert re.search(r"^Requires-Dist: tensorflow<2\.22,>=2\.21$", text, re.M)
    assert set(re.findall(r"^Provides-Extra: (\w+)$", text, re.M)) >= {"serving", "tensorboard"}


def test_the_source_package_has_sources_and_no_tests_or_results(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "requirements.txt"} <= names
    assert not [name for name in names if re.match(r"(tests|results|studies|docs)\b", name)]


def test_the_wheel_works_in_an_empty_folder(built, tmp_path):
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment, cwd=tmp_path)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    # What this interpreter has stands behind what the environment has.
    (packages,) = environment.rglob("site-packages")
    behind = [path for path in sys.path if path.endswith("-packages")]
    (packages / "behind.pth").write_text("\n".join(behind))
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", built[1], cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "dgm split_digits" in run(python.with_name("dgm"), "--help", cwd=empty)
    assert "dgm learn --memory=" in run(python.with_name("dgm"), "learn", "--help", cwd=empty)
    lines = run(python, "-c", FIRST, cwd=empty).splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["task 1 of 10", "task 2 of 10"]
    assert lines[2] == f"{{1: True, 2: True}} {packages / 'dgm_tf' / '__init__.py'}"
