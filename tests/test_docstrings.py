"""Docstrings of the public names: arguments, results, errors, and examples that run."""

import dataclasses
import doctest
import inspect
import os
import re
import subprocess
import sys
import textwrap
import typing
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import dgm_tf
from dgm_tf.image_classifier import ImageClassifier
from dgm_tf.layers.masked import MaskedLayer
from dgm_tf.methods.registry import METHODS

ROOT = Path(__file__).parent.parent
NAMES = sorted(dgm_tf.__all__)
# Functions make their objects, not a caller of the constructor.
MADE_BY_OTHERS = ("ExportedModel", "TaskStream")
# Examples that train a GAN, which takes a quarter of a minute or more.
SLOW = (
    "DGR", "EWC", "ExportedModel", "FineTune", "JointGAN", "MeRGANJTR", "MeRGANRA", "distributed",
    "load_exported",
)  # fmt: skip
# Replicas are made before TensorFlow has begun, so not in the process of the tests.
APART = ("distributed",)


def sections(docstring):
    """The sections of a docstring by title, dedented."""
    parts = re.split(r"^([A-Z]\w+):\n(?= {4}|\n)", inspect.cleandoc(docstring or ""), flags=re.M)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return {title: _indented_part(text) for title, text in pairs}


def _indented_part(text):
    lines = []
    for line in text.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return textwrap.dedent("\n".join(lines)).strip()


def entries(section):
    """The names that a section describes: those at its left margin."""
    return [name.lstrip("*") for name in re.findall(r"^(\*{0,2}\w+): \S", section, re.M)]


def blocks(name):
    """The code of an object's examples."""
    text = sections(inspect.getdoc(getattr(dgm_tf, name))).get("Example", "")
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def public_methods():
    """Every public function of a public class, and of the bases that users see through them."""
    kinds = [getattr(dgm_tf, name) for name in NAMES if inspect.isclass(getattr(dgm_tf, name))]
    found = {}
    for kind in (*kinds, ImageClassifier, MaskedLayer):
        for name, value in vars(kind).items():
            function = getattr(value, "__func__", value)
            if not name.startswith("_") and inspect.isfunction(function):
                found[f"{kind.__name__}.{name}"] = (kind, function)
    return found


METHODS_OF_CLASSES = public_methods()


def described_by_a_base(kind, name):
    """Whether a method replaces one that a base describes: one of ours, or Keras."""
    bases = [base for base in kind.__mro__[1:] if name in vars(base)]
    return any(
        vars(base)[name].__doc__ or not base.__module__.startswith("dgm_tf") for base in bases
    )


def parameters(function):
    """Names of a function's parameters without self."""
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def parameters_of_class(kind):
    """Names of a constructor's parameters; settings that `**changes` takes go by that name."""
    shown = list(inspect.signature(kind).parameters)
    if kind.__name__ == "Learner" or not issubclass(kind, dgm_tf.Learner):
        return shown
    fields = {field.name for field in dataclasses.fields(METHODS[kind.method].settings)}
    return [name for name in shown if name not in {*fields, "classifier"}] + ["changes"]


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_arguments_are_those_of_the_signature(name):
    value = getattr(dgm_tf, name)
    found = sections(inspect.getdoc(value))
    if inspect.isclass(value) and issubclass(value, Exception):
        return
    if inspect.isfunction(value):
        wanted, documented = parameters(value), entries(found.get("Args", ""))
    elif dataclasses.is_dataclass(value):  # fields, of which some document themselves
        fields = dataclasses.fields(value)
        wanted = [field.name for field in fields if "help" not in field.metadata]
        documented = entries(found.get("Attributes", ""))
    else:
        wanted, documented = parameters_of_class(value), entries(found.get("Args", ""))
        wanted = [] if name in MADE_BY_OTHERS else wanted
    assert documented == wanted


@pytest.mark.parametrize("method", METHODS_OF_CLASSES)
def test_the_documented_arguments_of_methods_are_those_of_their_signatures(method):
    kind, function = METHODS_OF_CLASSES[method]
    if not function.__doc__:
        assert described_by_a_base(kind, function.__name__), "no docstring"
        return
    documented = entries(sections(function.__doc__).get("Args", ""))
    assert documented == parameters(function)


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isfunction(getattr(dgm_tf, n))])
def test_a_function_says_what_it_returns(name):
    function = getattr(dgm_tf, name)
    returned = typing.get_type_hints(function)["return"]
    found = sections(inspect.getdoc(function))
    assert bool({"Returns", "Yields"} & set(found)) == (returned is not type(None))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder with the images that examples read."""
    monkeypatch.chdir(tmp_path)
    for kind, level in (("cat", 40), ("dog", 200)):
        folder = tmp_path / "photos" / kind
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = np.full([20, 20, 3], level + number, np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    yield tmp_path
    METHODS.pop("mine", None)  # what an example has registered


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NAMES]
)
def test_the_example_runs(name, workplace):
    found = blocks(name)
    assert found, "no example"
    if name in APART:
        code = "\n".join(["import dgm_tf", *found])
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return
    names = {"__name__": "example", "dgm_tf": dgm_tf, "np": np, "tf": tf}
    for block in found:
        if block.startswith(">>>"):
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
            case = doctest.DocTestParser().get_doctest(block, names, name, None, 0)
            assert not runner.run(case, clear_globs=False).failed
            names.update(case.globs)
        else:
            exec(compile(block, name, "exec"), names)
