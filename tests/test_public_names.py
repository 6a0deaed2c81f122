"""The public names, the arguments that an editor shows for them, and a quiet import and use."""

import ast
import dataclasses
import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import dgm_tf
from dgm_tf.learners import arguments
from dgm_tf.methods.registry import METHODS
from dgm_tf.methods.settings import DGMSettings, LearnerSettings

ROOT = Path(__file__).parent.parent

# Learns as a user's first script does.
SCRIPT = """
import numpy as np
import dgm_tf
model = dgm_tf.DGM(steps=300, batch_size=8, generator_size=2, critic_size=2, latent_dim=8,
                   consolidation_steps=10, replay_buffer=64)
images = np.random.RandomState(0).randint(0, 256, (16, 16, 16)).astype(np.uint8)
for name in ("a", "b"):
    model.learn((images, [name] * 16))
for count in (1, 2, 3, 5, 7, 9, 16):
    model.classify(images[:count])
    model.generate(["a"] * count)
model.save("memory")
model = dgm_tf.load("memory")
assert model.audit() == {1: True, 2: True}
print(model.evaluate(images[:2], ["a", "b"]))
model.export("exported", classifier=True)
dgm_tf.load_exported("exported").classify(images, names=True)
"""


def test_every_name_is_there_and_an_editor_finds_it_in_the_same_place():
    tree = ast.parse((ROOT / "dgm_tf" / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    static = {name.asname: (part.module, name.name) for part in block.body for name in part.names}
    assert static == {name: (home, name) for name, home in dgm_tf._HOMES.items()}
    for name in dgm_tf.__all__:
        assert getattr(dgm_tf, name) is not None
    learners = {method.learner.partition(":")[2] for method in METHODS.values()}
    assert learners <= set(dgm_tf.__all__)


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/python.md"])
def test_the_pages_name_what_is_there(page):
    named = re.findall(r"\bdgm_tf\.([A-Za-z]\w*)", (ROOT / page).read_text())
    modules = {path.stem for path in (ROOT / "dgm_tf").iterdir()}
    assert named and set(named) <= {*dgm_tf.__all__, *modules}


def test_type_checkers_are_told_that_the_package_is_typed():
    assert (ROOT / "dgm_tf" / "py.typed").exists()
    assert '"dgm_tf" = ["py.typed"]' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_the_arguments_of_a_learner_are_its_settings(method):
    fields = [field.name for field in dataclasses.fields(method.settings)]
    own = ["classifier"] if issubclass(method.settings, LearnerSettings) else []
    learner = getattr(dgm_tf, method.learner.partition(":")[2])
    shown = inspect.signature(learner).parameters
    assert {"settings", *own, *fields} <= shown.keys()
    assert {shown[name].default for name in fields} == {None}  # the preset's
    assert learner(**dict.fromkeys(fields)).settings == learner().settings
    assert learner(seed=5).settings.seed == learner.from_preset("digits", seed=5).settings.seed == 5


def test_a_type_checker_sees_those_of_dgm():
    fields = {field.name: field for field in dataclasses.fields(DGMSettings)}
    typed = typing.get_type_hints(arguments.DGMArguments)
    assert typed.keys() == {"classifier", *fields}
    for name, field in fields.items():
        if choices := field.metadata["choices"]:
            assert typing.get_args(typed[name]) == choices, name
        else:
            assert typed[name] == field.type, name
    source = (ROOT / "dgm_tf/learners/dgm.py").read_text()
    constructor = {
        node.name for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.args.kwarg is not None
        and ast.unparse(node.args.kwarg.annotation) == "Unpack[DGMArguments]"
    }  # fmt: skip
    assert constructor == {"__init__", "from_preset"}


def test_the_documentation_of_dgm_has_every_setting():
    documented = re.findall(r"^ {12}- `(\w+)`: ", dgm_tf.DGM.__doc__, re.M)
    fields = [field.name for field in dataclasses.fields(DGMSettings)]
    assert sorted(documented) == sorted([*fields, "classifier"])


@pytest.mark.parametrize("name", ["load", "load_exported"])
def test_a_first_name_is_imported_without_a_circle(name):
    done = python(f"import dgm_tf; dgm_tf.{name}", cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def python(code, cwd):
    """Runs code in a process that sets nothing of TensorFlow's."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TF_") and not name.startswith("PYTHONWARN")
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip


@pytest.mark.slow
def test_nothing_but_the_progress_is_written(tmp_path):
    done = python(SCRIPT, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *progress, last = done.stdout.splitlines()
    assert all(re.match(r"task [12]: class [ab]  .*epoch \d+/\d+", line) for line in progress)
    assert last.startswith("accuracy ")


# TensorFlow warns twice of one function, and so another one is retraced after the task.
RETRACED = """
import sys
import numpy as np
import dgm_tf
import keras
import tensorflow as tf

class Retraced(dgm_tf.NearestMean):
    def learn_task(self, task, *, callbacks=()):
        for number in range(7):
            again(number)
        return super().learn_task(task, callbacks=callbacks)

@tf.function
def again(number):
    return number

model = Retraced()
model.learn((np.zeros([32, 16, 16], np.uint8), ["a"] * 32), verbose=0)
print("learnt", file=sys.stderr)
other = tf.function(lambda number: number)
for number in range(7):
    other(number)
"""


def test_nobodys_import_is_loud_nor_is_retracing_while_a_task_is_learnt():
    """Keras imports TensorFlow first there."""
    done = python(RETRACED, cwd=ROOT)
    before, _, after = done.stderr.partition("learnt\n")
    assert (done.returncode, done.stdout, before) == (0, "", "") and "retracing" in after


def test_looking_for_tensorflow_changes_nothing():
    code = (
        "import dgm_tf, importlib.util as u; u.find_spec('tensorflow'); import tensorflow as tf; "
    )
    done = python(code + "print(tf.__spec__.loader.path == tf.__file__)", cwd=ROOT)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("level, shown", [("3", False), ("0", True)])
def test_what_tensorflow_writes_is_shown_to_those_who_ask(level, shown):
    code = f"import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = {level!r}; import dgm_tf; dgm_tf.DGM"
    assert bool(python(code, cwd=ROOT).stderr) == shown


def test_what_was_written_before_an_import_that_fails_is_shown(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os; os.write(2, b'no such library\\n'); raise ImportError('broken')"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import dgm_tf; dgm_tf.DGM"
    done = python(code, cwd=ROOT)
    assert "no such library" in done.stderr and "ImportError: broken" in done.stderr
