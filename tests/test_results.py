"""The committed results: results/runs.csv, and what README.md and the documents show of it."""

import json
import re

import pytest

import dgm_tf
from dgm_tf.methods.registry import METHODS
from studies import results
from trainers import report


@pytest.mark.parametrize("page", results.PAGES, ids=lambda page: page.name)
def test_the_tables_of_a_page_are_what_the_rows_give(page):
    text = page.read_text(encoding="utf-8")
    assert text == results.with_tables(text, results.read()), "python -m studies.results writes it"


def test_the_report_that_metrics_explains_is_what_its_command_prints(monkeypatch, capsys):
    page = (results.ROOT / "docs" / "explanation" / "metrics.md").read_text(encoding="utf-8")
    command = re.search(r"^python -m trainers.report (--text .*)$", page, re.M)[1]
    shown = re.search(r"^```text\n(  task  classes.*?)^```$", page, re.M | re.S)[1]
    monkeypatch.chdir(results.ROOT)
    assert report.main(command.split()) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in shown.splitlines() if line not in printed] == []


def test_every_table_is_on_a_page():
    marked = [
        name
        for page in results.PAGES
        for name in re.findall(r"<!-- ([\w ]+):begin -->", page.read_text(encoding="utf-8"))
    ]
    assert sorted(marked) == sorted(results.TABLES)


@pytest.mark.parametrize(
    "path",
    sorted((results.ROOT / "results").glob("*-*/*/seed*/settings.json")),
    ids=lambda path: "/".join(path.parts[-4:-2]),
)
def test_a_committed_run_has_the_settings_of_the_present_preset(path):
    """A setting that is younger than a run had its default; joint training had other names once."""
    described = json.loads(path.read_text(encoding="utf-8"))
    method, _, variant = described["learner"].partition("-")
    preset = dgm_tf.settings_for(
        described["stream"]["name"], method, variant=variant or None, seed=described["seed"]
    ).as_json()
    run = described["settings"]
    if method == "joint":
        preset = {name: value for name, value in preset.items() if name in run}
    defaults = METHODS[method].settings().as_json()
    assert {name: run.get(name, defaults[name]) for name in preset} == preset


def test_the_small_table_takes_the_present_defaults_and_the_best_other_method():
    def row(method, a10, group="defaults", variant=""):
        return {
            "dataset": "mnist", "group": group, "tasks": 10, "method": method, "variant": variant,
            "A10": a10,
        }  # fmt: skip

    rows = [
        row("dgm", 98.0, variant="w"), row("dgm", 96.0, variant="w"),
        row("dgm", 50.0, "older-defaults", "w"), row("ewc", 91.0), row("dgr", 60.0),
        row("joint", 99.0, "older-defaults"), row("experience_replay", 97.0),
    ]  # fmt: skip
    cells = [line.split(" | ")[2] for line in results.readme_table(rows).splitlines()[2:]]
    assert cells == ["not run", "EWC 91.00 (1)", "97.00 ± 1.41 (2)", "97.00 (1)", "not run"]


def test_a_data_sets_table_has_its_present_rows_and_names_what_is_missing():
    rows = results.read()
    table, _, missing = results.dataset_table(rows, "digits").partition("\n\nNot run yet: ")
    header, _, *lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    found = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    runs = [
        row for row in rows
        if (row["dataset"], row["group"], row["tasks"]) == ("digits", "defaults", 10)
    ]  # fmt: skip
    assert set(found) == {results.METHODS[row["method"], row["variant"]] for row in runs}
    assert set(missing.rstrip(".").split(", ")) - {""} == {*results.METHODS.values()} - set(found)
    assert all(any(line[title] for line in found.values()) for title in header)
    dgm = [row for row in runs if (row["method"], row["variant"]) == ("dgm", "w")]
    assert found["DGMw"]["A10"] == results.spread([row["A10"] for row in dgm])
    kept = [row["kept"] / 1e6 for row in dgm if row["kept"]]
    assert found["DGMw"]["kept, MB"] == results.spread(kept)
    assert set(found["DGMw"]["commit"].split(", ")) == {row["commit"][:7] for row in dgm}


def test_the_table_of_two_classes_a_task_has_the_runs_of_five_tasks():
    def row(dataset, tasks, a5, seed=0):
        empty = dict.fromkeys(results.MEASURES)
        return empty | {
            "group": "defaults", "dataset": dataset, "tasks": tasks, "method": "dgm",
            "variant": "w", "seed": seed, "A5": a5, "commit": "0123456789",
        }  # fmt: skip

    rows = [
        row("mnist", 5, 98.0), row("mnist", 5, 97.0, seed=1), row("mnist", 10, 99.0),
        row("cifar10", 5, 40.0),
    ]  # fmt: skip
    lines = [line.strip("| ").split(" | ") for line in results.pairs_table(rows).splitlines()]
    assert lines[0] == ["data set", "method", "n", "A5", "commit"]
    assert lines[2:] == [
        ["MNIST", "DGMw", "2", "97.50 ± 0.71", "0123456"],
        ["CIFAR-10", "DGMw", "1", "40.00", "0123456"],
    ]


def test_the_table_of_the_paper_says_which_measure_a_row_has():
    lines = [line.strip("| ").split(" | ") for line in results.paper_table().splitlines()]
    rows = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}
    assert rows["DGMw"]["measure"] == "A" and rows["DGMw"]["SVHN, 10"] == "67.05"
    assert rows["EWC"]["measure"] == "G" and rows["EWC"]["MNIST, 5 tasks"] == "70.62"


def test_a_row_is_a_run_of_its_own():
    rows = results.read()
    assert rows and set(rows[0]) == set(results.COLUMNS)
    assert {(row["method"], row["variant"]) for row in rows} <= set(results.METHODS)
    kinds = [
        (row["group"], row["dataset"], row["tasks"], row["method"], row["variant"], row["seed"])
        for row in rows
    ]
    assert len(kinds) == len(set(kinds))


def test_a_curve_agrees_with_the_measures_of_its_row():
    rows = [row for row in results.read() if row["A"]]
    assert len(rows) > 50
    for row in rows:
        assert len(row["A"]) == row["tasks_learnt"]
        assert row["A"][-1] == pytest.approx(row["A_last"], abs=0.006)
        for task in {5, 10} & set(range(1, row["tasks_learnt"] + 1)):
            assert row["A"][task - 1] == pytest.approx(row[f"A{task}"], abs=0.006)


def test_a_cell_is_the_mean_and_the_deviation_over_seeds():
    assert results.spread([1.0, 2.0, None, 3.0]) == "2.00 ± 1.00"
    assert (results.spread([2.0]), results.spread([None])) == ("2.00", "")


def test_a_row_is_read_as_it_was_written(tmp_path):
    rows = results.read()[-2:]
    assert rows[0]["A"]
    for row in rows:
        results.append(tmp_path / "new" / "rows.csv", row)
    assert results.read(tmp_path / "new" / "rows.csv") == rows
