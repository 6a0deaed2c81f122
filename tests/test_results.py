"""The committed results: results/runs.csv, and what README.md shows of it."""

from studies import results


def test_the_table_in_the_readme_is_what_the_rows_give():
    text = (results.ROOT / "README.md").read_text(encoding="utf-8")
    assert text == results.with_table(text), "python -m studies.results writes it"


def test_the_small_table_takes_the_newest_defaults_and_the_best_other_method():
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
    cells = [line.split(" | ")[1] for line in results.readme_table(rows).splitlines()[2:6]]
    assert [cell.removesuffix(" |") for cell in cells] == [
        "not run", "EWC 91.00 (1)", "97.00 ± 1.41 (2)", "99.00 (1)†",
    ]  # fmt: skip
    assert results.readme_table(rows).splitlines()[-1].startswith("† ")


def test_a_row_is_a_run_of_its_own():
    rows = results.read()
    assert rows and set(rows[0]) == set(results.COLUMNS)
    assert {(row["method"], row["variant"]) for row in rows} <= set(results.METHODS)
    kinds = [
        (row["group"], row["dataset"], row["tasks"], row["method"], row["variant"], row["seed"])
        for row in rows
    ]
    assert len(kinds) == len(set(kinds))


def test_a_cell_is_the_mean_and_the_deviation_over_seeds():
    assert results.spread([1.0, 2.0, None, 3.0]) == "2.00 ± 1.00"
    assert (results.spread([2.0]), results.spread([None])) == ("2.00", "")


def test_a_row_is_read_as_it_was_written(tmp_path):
    rows = results.read()[:2]
    for row in rows:
        results.append(tmp_path / "new" / "rows.csv", row)
    assert results.read(tmp_path / "new" / "rows.csv") == rows
