"""Pages and tables that the site's hook makes: nothing is missing and every value is right."""

import dataclasses
import re

import pytest

import trainers.__main__
from dgm_tf.methods.presets import PAPER, TUNED, settings_for
from dgm_tf.methods.registry import METHODS, label_of
from tests.site_hook import hook

COMMANDS = [path.stem for paths in trainers.__main__.commands().values() for path in paths]
GANS = "the other GANs"


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def table(text, first):
    """The rows of the table whose header begins with a word, as dictionaries."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first} |"))
    header, rows = cells(lines[start]), []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(header, cells(line), strict=True)))
    return rows


def rows_of_settings():
    """Rows of the table of settings, each with the name of its setting."""
    name = ""
    for row in table(hook.settings_page(), "setting"):
        name = re.sub(r"[`*† \\]", "", row["setting"]) or name
        yield name, row


def named(methods):
    """Whether a cell of the table names a learner, for every learner."""
    if methods.startswith("all"):
        return {each: label_of(each) not in methods for each in hook.LEARNERS}
    labels = set(methods.split(", "))
    return {
        each: label_of(each) in labels or (GANS in labels and hook._is_gan(each))
        for each in hook.LEARNERS
    }


def value(settings, name):
    return hook._value(getattr(settings, name))


# Commands.


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_on_its_page_with_every_flag(command):
    page = hook.commands_page()
    _, _, part = page.partition(f"\n### {command}\n")
    # Commands that share their flags stand before the tables.
    part = part[: part.index("\n| flag |")] + part[part.index("\n| flag |") :].split("\n### ")[0]
    flags = re.findall(r"^\| `--(?:\[no\])?(\w+)", part, re.M)
    assert flags == hook.flags_of(command).names()
    assert all(f"\n{example}\n" in part for example in hook.flags_of(command).examples)


def test_a_default_is_shown_unless_it_depends_on_the_preset():
    page = hook.commands_page()
    assert "| `--count=N` | number of images of each class | `16` |" in page
    assert "| `--memory=DIR` | folder of a memory or of another run, or digits-demo" in page
    assert "| `--epochs=N` |" in page and "a mean" not in page
    assert re.search(r"^\| `--epochs=N` \| .* \|  \|$", page, re.M)


def test_help_and_page_call_a_flag_the_same():
    flags = hook.flags_of("sample")
    shown = [hook.flag_of(field) for fields in flags.groups.values() for field in fields]
    assert shown[0] == "--memory=DIR" and "--labels=NAME,NAME,..." in shown


# Settings.


def test_every_setting_of_every_method_has_a_row():
    wanted = {
        (field.name, learner)
        for learner in hook.LEARNERS
        for field in dataclasses.fields(METHODS[learner.partition("-")[0]].settings)
    }
    found = [
        (name, learner)
        for name, row in rows_of_settings()
        for learner, there in named(row["methods"]).items()
        if there
    ]
    assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize("learner", hook.LEARNERS)
def test_the_values_are_those_of_the_presets(learner):
    method, _, variant = learner.partition("-")
    chosen = {"method": method, "variant": variant or None}
    columns = {"default": settings_for(None, **chosen)}
    columns |= {dataset: settings_for(dataset, **chosen) for dataset in TUNED}
    columns["paper"] = settings_for(None, preset="paper", **chosen)
    columns["paper, svhn_cropped"] = settings_for("svhn_cropped", preset="paper", **chosen)
    for name, row in rows_of_settings():
        if named(row["methods"])[learner]:
            shown = {title: row[title] for title in columns}
            assert shown == {title: value(each, name) for title, each in columns.items()}, name


@pytest.mark.parametrize("method", METHODS)
def test_the_column_of_the_paper_is_that_of_all_data_but_svhn(method):
    for dataset in sorted(set(PAPER) - {"svhn_cropped"}):
        chosen = settings_for(dataset, method, preset="paper")
        assert chosen == settings_for(None, method, preset="paper")


@pytest.mark.parametrize(("mark", "key"), [(r"\*", "flag"), ("†", "later")])
def test_a_mark_tells_settings_with_a_flag_and_those_that_a_memory_may_change(mark, key):
    marked = {
        re.sub(r"\W", "", row["setting"])
        for row in table(hook.settings_page(), "setting")
        if mark in row["setting"]
    }
    assert marked == {
        field.name
        for method in METHODS.values()
        for field in dataclasses.fields(method.settings)
        if field.metadata[key]
    }


def test_every_constant_of_a_recipe_has_a_row_with_its_meaning():
    rows = table(hook.settings_page(), "constant")
    names = [row["constant"].strip("`") for row in rows]
    assert names == [field.name for field in dataclasses.fields(hook.settings.Recipe)]
    assert all(row["meaning"] for row in rows)
    rates = next(row for row in rows if "rate_decay" in row["constant"])
    assert (rates["tuned"], rates["paper"]) == ("cosine", "none")


# Markdown.


def test_plain_text_stays_what_it_is():
    assert hook._escaped("a <b> | *c* {d} `x|y_z`") == r"a &lt;b&gt; \| \*c\* \{d\} `x|y_z`"


@pytest.mark.parametrize("path, make", hook.PAGES.items())
def test_a_generated_page_has_one_title(path, make):
    assert len(re.findall(r"^# ", re.sub(r"```.*?```", "", make(), flags=re.S), re.M)) == 1
