"""BUILD and MODULE.bazel, read as the Python that Starlark resembles, with stubs for the rules."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import dgm_tf

ROOT = Path(__file__).parent.parent
RULES = ("py_library", "py_binary", "py_test")


def _glob(include, exclude=(), exclude_directories=1):
    """Bazel's: paths below the package; `**` stands for any number of folders, none included."""

    def matches(patterns):
        return {path for pattern in patterns for path in ROOT.glob(pattern)}

    kept = matches(include) - matches(exclude)
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in kept
        if not (exclude_directories and path.is_dir())
    )


def _run(name, **stubs):
    exec(compile((ROOT / name).read_text(), name, "exec"), stubs)


@pytest.fixture(scope="module")
def targets():
    """(rule, attributes) for each target in BUILD, in order."""
    declared = []
    loaded = []

    def rule(kind):
        return lambda **attributes: declared.append((kind, attributes))

    _run(
        "BUILD",
        load=lambda file, *names: loaded.extend(names),
        package=lambda **_: None,
        glob=_glob,
        **{kind: rule(kind) for kind in RULES},
    )
    assert sorted(loaded) == sorted(RULES)
    return declared


def _files(folder):
    return {
        Path(where, name).relative_to(ROOT).as_posix()
        for where, _, names in os.walk(ROOT / folder)
        for name in names
        if name.endswith(".py")
    }


def _memories():
    """Files of the memories that come with the package."""
    folders = (path for path in (ROOT / "dgm_tf" / "memories").iterdir() if path.is_dir())
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def _of(targets, *kinds):
    return [attributes for kind, attributes in targets if kind in kinds]


def test_every_file_of_the_library_belongs_to_a_library_target(targets):
    held = {path for target in _of(targets, "py_library") for path in target["srcs"]}
    assert _files("dgm_tf") - held == set()


def test_every_template_of_the_library_travels_with_it_in_bazel_and_in_the_wheel(targets):
    templates = {"dgm_tf/reporting/page.css", "dgm_tf/reporting/page.html", "dgm_tf/py.typed"}
    data = set().union(*(target.get("data", ()) for target in _of(targets, "py_library")[:1]))
    shipped = {path for path in data if path.startswith("dgm_tf/memories/")}
    assert data == templates | shipped and shipped == _memories()
    wheel = (ROOT / "pyproject.toml").read_text()
    assert '"dgm_tf.reporting" = ["page.html", "page.css"]' in wheel


def test_every_trainer_is_a_program_and_every_other_file_beside_it_a_library(targets):
    programs = {
        path for path in _files("trainers") if '__name__ == "__main__"' in (ROOT / path).read_text()
    }
    assert {target["main"] for target in _of(targets, "py_binary")} == programs
    held = {path for target in _of(targets, "py_library") for path in target["srcs"]}
    assert _files("trainers") - programs - held == set()


def test_the_results_that_tests_read_travel_with_them(targets):
    data = set().union(*(target.get("data", ()) for target in _of(targets, "py_library")))
    assert {"results/runs.csv", "results/targets.csv", "results/tuning/digits/trials.csv"} <= data


def test_every_test_file_has_a_target_that_runs_it_and_nothing_else(targets):
    run = [target["args"] for target in _of(targets, "py_test")]
    tests = {path for path in _files("tests") if Path(path).name.startswith("test_")}
    assert sorted(run) == sorted([path] for path in tests)
    for target in _of(targets, "py_test"):
        assert target["args"][0] in target["srcs"]


def test_helpers_of_the_tests_travel_with_every_test(targets):
    helpers = {path for path in _files("tests") if not Path(path).name.startswith("test_")}
    libraries = {":" + target["name"]: set(target["srcs"]) for target in _of(targets, "py_library")}
    for target in _of(targets, "py_test"):
        given = set().union(target["srcs"], *(libraries[name] for name in target["deps"]))
        assert helpers <= given


def test_no_file_of_the_tests_imports_a_test_which_only_its_own_target_has():
    for path in _files("tests"):
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            modules = [getattr(node, "module", None) or ""] * isinstance(node, ast.ImportFrom)
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules += [alias.name for alias in node.names]
            names = [name for module in modules for name in module.split(".")]
            assert not any(name.startswith("test_") for name in names), path


def test_names_are_unique_and_what_a_target_names_exists(targets):
    names = [target["name"] for _, target in targets]
    assert len(names) == len(set(names))
    for kind, target in targets:
        for dependency in target.get("deps", []):
            assert dependency.removeprefix(":") in names
        for path in [*target["srcs"], *target.get("data", [])]:
            assert (ROOT / path).is_file(), path
        if kind != "py_library":
            assert target["main"] in target["srcs"]


@pytest.mark.parametrize("name", ["BUILD", "MODULE.bazel"])
def test_the_file_keeps_to_what_starlark_allows_at_the_top(name):
    tree = ast.parse((ROOT / name).read_text())
    for statement in tree.body:  # `for`, `if`, `def` and `import` may not stand there.
        assert isinstance(statement, ast.Expr | ast.Assign), ast.unparse(statement)
    forbidden = (ast.JoinedStr, ast.Lambda, ast.Set, ast.SetComp, ast.GeneratorExp, ast.NamedExpr)
    assert not [node for node in ast.walk(tree) if isinstance(node, forbidden)]


def test_the_module_has_the_version_of_the_package_and_the_rules_that_build_loads():
    modules, dependencies = [], []
    _run(
        "MODULE.bazel",
        module=lambda **attributes: modules.append(attributes),
        bazel_dep=lambda **attributes: dependencies.append(attributes["name"]),
    )
    assert [module["version"] for module in modules] == [dgm_tf.__version__]
    loaded_from = re.findall(r'load\("@(\w+)//', (ROOT / "BUILD").read_text())
    assert set(loaded_from) <= set(dependencies)


def test_the_source_package_has_no_tests(tmp_path):
    # Newer releases of setuptools take tests/test*.py of itself, and nothing else of the folder.
    named = "import setuptools; setuptools.setup(name='a', py_modules=['tests.test_a'])\n"
    (tmp_path / "setup.py").write_text(named)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").touch()
    shutil.copy(ROOT / "MANIFEST.in", tmp_path)
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--formats=gztar"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (package,) = (tmp_path / "dist").iterdir()
    with tarfile.open(package) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert "setup.py" in names and not [name for name in names if name.startswith("tests")]
