"""The files that describe the project: citation, changelog, addresses and the forms for issues."""

import ast
import re
from pathlib import Path

import pytest
import yaml

import dgm_tf

ROOT = Path(__file__).parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
URLS = dict(re.findall(r'^(\w+) = "(https://.*)"$', PROJECT, re.M))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
# What GitHub allows, and what each part of a form must have.
PARTS = {"textarea": "label", "input": "label", "dropdown": "options", "checkboxes": "options"}


def test_the_citation_names_this_version_and_both_papers():
    assert {"cff-version", "message", "title", "authors", "version", "type"} <= set(CITATION)
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    assert CITATION["version"] == dgm_tf.__version__
    assert f'\nlicense = "{CITATION["license"]}"\n' in PROJECT
    workshop, conference = CITATION["references"]
    assert (workshop["year"], conference["year"]) == (2018, 2019)
    names = [author["family-names"] for author in conference["authors"]]
    assert names == ["Ostapenko", "Puscas", "Klein", "Jähnichen", "Nabi"]
    assert workshop["authors"] == conference["authors"]
    assert {"value": "arXiv:1904.03137", "type": "other", "description": "preprint"} in (
        conference["identifiers"]
    )


def test_the_changelog_has_this_version_and_links_for_all():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, re.M)
    assert versions[:2] == ["Unreleased", dgm_tf.__version__]
    assert re.findall(r"^\[(.+?)\]: https://", text, re.M) == versions


def test_every_address_of_the_repository_is_the_one_of_pyproject():
    base = URLS["Repository"]
    assert all(address.startswith(base) for address in URLS.values())
    name = base.rpartition("/")[2]
    for page in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"):
        text = (ROOT / page).read_text(encoding="utf-8")
        found = re.findall(rf"https://[\w.-]+/[\w.-]+/{name}\b", text)
        assert set(found) <= {base}, page


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one_that_github_takes(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(form)
    identifiers = [part["id"] for part in form["body"]]
    assert len(identifiers) == len(set(identifiers))
    for part in form["body"]:
        assert {"label", PARTS[part["type"]]} <= set(part["attributes"])
        for choice in part["attributes"].get("options", ()):
            # `on` and `no` without quotes are booleans in YAML.
            assert isinstance(choice if part["type"] == "dropdown" else choice["label"], str)


def test_the_form_for_bugs_asks_for_what_bits_depend_on():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text(encoding="utf-8"))
    assert {"command", "settings", "machine", "onednn"} <= {part["id"] for part in form["body"]}


def test_the_tests_and_places_that_contributors_are_told_of_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|dgm_tf|trainers|studies|benchmarks|docs)/[\w./]*)`", text)
    assert len(named) > 20 and [path for path in named if not (ROOT / path).exists()] == []
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"^(?:\| `|- `)?make ([a-z-]+)", text, re.M)) <= set(targets)


def test_imports_between_folders_point_down_the_list_for_contributors():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    order = re.findall(r"^\| `dgm_tf/(\w+)/` ", text, re.M)
    modules = [path for path in (ROOT / "dgm_tf").glob("*/*.py") if path.stem != "__init__"]
    assert set(order) == {path.parent.name for path in modules}
    for place, folder in enumerate(order):
        for path in (ROOT / "dgm_tf" / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
            for name in re.findall(r"^dgm_tf\.(\w+)", "\n".join(map(str, modules)), re.M):
                assert name not in order[:place], f"{path} imports dgm_tf.{name}"
