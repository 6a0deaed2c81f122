"""Tables of a run: their numbers by hand, and the text around them."""

import re

import pytest

from dgm_tf.evaluation.sampling import AUDITED, some_of
from dgm_tf.reporting import tables
from dgm_tf.reporting.run import read_run
from dgm_tf.runs.run_format import class_names
from tests.reporting.example import row, write_run


def cells(table):
    """The first cell of each column, and the rows below by their first cell."""
    return list(table.header), {line[0]: list(line[1:]) for line in table.rows}


class TestAccuracyTable:
    def test_has_a_line_per_task_in_percent(self):
        changes = {
            "average_accuracy": 0.98765,
            "class_accuracy": {"0": 0.9875, "1": 0.75},
            "forgetting": 0.0,
            "backward_transfer": 0.0125,
            "newest_class_share": {"predictions": 0.156, "test_set": 0.1},
        }
        header, lines = cells(tables.accuracy_table([row(1), row(2, **changes)]))
        assert header == [
            "task", "classes", "A_t", "forgetting", "BWT",
            "lowest class", "newest predicted", "in test",
        ]  # fmt: skip
        assert lines["2"] == ["2", "98.77", "0.00", "1.25", "75.00 (class 1)", "15.60", "10.00"]

    def test_an_oracle_has_a_column_where_one_was_asked(self):
        header, lines = cells(tables.accuracy_table([row(1), row(2, oracle_accuracy=0.5)]))
        assert header[3] == "G_t" and lines["1"][2] == "n/a" and lines["2"][2] == "50.00"

    def test_what_is_not_defined_is_na_and_never_zero(self):
        _, lines = cells(tables.accuracy_table([row(1)]))
        assert lines["1"][2:4] == ["n/a", "n/a"]


class TestGrowthTable:
    def test_units_stand_next_to_the_worst_case_of_the_paper(self):
        # 140 units, as in Figure 2; after task 2 the worst case has added 140 twice: 420.
        initial = [80, 40, 20]
        rows = [
            row(1, layer_widths=[100, 50, 20], initial_layer_widths=initial),
            row(2, layer_widths=[200, 60, 34], initial_layer_widths=initial),
        ]
        header, lines = cells(tables.growth_table(rows))
        assert header == [
            "task", "block 1", "block 2", "block 3", "units", "worst case", "of worst",
            "free", "free/start",
        ]  # fmt: skip
        assert lines["start"][:5] == ["80", "40", "20", "140", "140"]
        assert lines["1"][:6] == ["100", "50", "20", "170", "280", "61 %"]
        assert lines["2"][:6] == ["200", "60", "34", "294", "420", "70 %"]

    def test_shows_the_layer_with_the_least_free_capacity_against_its_start(self):
        layers = [{"free": 30, "initial_free": 20}, {"free": 11, "initial_free": 10}]
        _, lines = cells(tables.growth_table([row(1, layers=layers)]))
        assert lines["1"][5:] == ["50 %", "1.10"]  # 11 / 10, not 30 / 20


class TestCostTable:
    def test_has_each_task_and_all_of_them(self):
        header, lines = cells(tables.cost_table([row(1, seconds=30.5), row(2, seconds=40.0)]))
        assert header == [
            "task", "epochs", "steps", "learning", "evaluation", "peak MiB", "parameters"
        ]  # fmt: skip
        assert lines["2"] == ["2", "10", "40.0 s", "6.0 s", "502", "200"]
        assert lines["all"] == ["4", "20", "1 min 10 s", "12.0 s", "502", "200"]

    def test_all_of_which_a_part_is_missing_is_na(self):
        _, lines = cells(tables.cost_table([row(1), row(2, peak_memory_mib=None)]))
        assert lines["all"] == ["4", "20", "3 min 00 s", "12.0 s", "n/a", "200"]

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.04, "0.0 s"),
            (8.25, "8.2 s"),
            (59.96, "1 min 00 s"),
            (247.4, "4 min 07 s"),
            (3599.6, "1 h 00 min"),
            (3600 + 59 * 60 + 45, "2 h 00 min"),
        ],
    )
    def test_durations_read_well(self, seconds, text):
        assert tables.duration(seconds) == text


class TestAudit:
    def test_an_exact_memory_is_identical_after_every_later_task(self):
        rows = [row(1), row(2), row(3)]
        assert tables.audit_verdicts(rows) == {
            1: "identical after 2 later tasks",
            2: "identical after 1 later task",
        }

    @pytest.mark.parametrize(
        ("second", "third", "verdict"),
        [
            ({"1": 0}, {"1": 12, "2": 0}, "12 of 1024 pixels differ (first after task 3)"),
            # A difference is not forgotten when a later check is identical.
            ({"1": 12}, {"1": 0, "2": 0}, "12 of 1024 pixels differ (first after task 2)"),
            # A check that was not made is not identical.
            ({"1": 0}, {"2": 0}, "not checked after task 3"),
        ],
    )
    def test_says_how_many_pixels_differ_and_since_when(self, second, third, verdict):
        rows = [row(1), row(2, audit=second), row(3, audit=third)]
        assert tables.audit_verdicts(rows)[1] == verdict

    def test_a_run_that_audits_nothing_has_no_verdict(self):
        assert tables.audit_verdicts([row(task, generates=False) for task in (1, 2)]) == {}

    def test_of_many_tasks_those_that_were_checked_count(self):
        rows = [row(task) for task in range(1, 41)]
        for each in rows:
            checked = some_of(range(1, each["task"]), AUDITED, seed=each["task"])
            each["audit"] = {str(task): 0 for task in checked}
            each["audit_pixels"] = {str(task): 1024 for task in (*checked, each["task"])}
        verdicts = tables.audit_verdicts(rows)
        assert verdicts[1] == "identical after 39 later tasks"
        assert re.fullmatch(
            r"identical each time, checked after \d+ of 38 later tasks", verdicts[2]
        )
        rows[30]["audit"]["1"] = 5
        assert tables.audit_verdicts(rows)[1].startswith("5 of 1024 pixels differ (first after ta")
        del rows[4]["audit"]["2"]  # One of few, all of which are checked.
        assert tables.audit_verdicts(rows)[2] == "not checked after task 5"


class TestLongTables:
    def test_the_middle_is_left_out(self):
        rows = [row(task) for task in range(1, 1001)]
        for part in (tables.accuracy_table, tables.growth_table, tables.cost_table):
            lines = part(rows).rows
            assert len(lines) <= 43 and lines[-2][0] in ("999", "1000")
            (gap,) = [line for line in lines if "more" in line[0]]
            assert sum(1 for cell in gap if cell) == 1

    def test_a_table_of_forty_is_whole(self):
        assert len(tables.accuracy_table([row(task) for task in range(1, 41)]).rows) == 40


NAMES = {0: "cat", 1: "dog"}


class TestMemory:
    def rows(self):
        rows = [row(1, not_measured=[]), row(2, class_accuracy={"1": 0.5}, not_measured=[0])]
        for each, name in zip(rows, ("cat", "dog"), strict=True):
            each |= {"class_names": [name], "fingerprints": ["0"], "held_out": {}}
        return rows

    def test_classes_have_their_names(self):
        header, lines = cells(tables.accuracy_table(self.rows(), NAMES))
        assert header[:4] == ["task", "classes", "measured", "A_t"]
        assert lines["2 (dog)"][:2] == ["2", "1"] and "50.00 (dog)" in lines["2 (dog)"]
        assert tables.cost_table(self.rows(), NAMES).rows[0][0] == "1 (cat)"

    def test_only_the_description_says_that_it_is_a_memory(self):
        named = {"stream": {"kind": "open"}}
        assert class_names(named, self.rows()) == NAMES
        fixed = {"stream": {"class_names": ["ape", "bee"]}}
        assert class_names(fixed, self.rows()) == {0: "ape", 1: "bee"}

    def test_a_method_that_generates_nothing_has_no_verdict(self):
        rows = [each | {"audit": {}, "audit_pixels": {}} for each in self.rows()]
        assert [line[3] for line in tables.class_table(rows, NAMES).rows] == ["-", "-"]

    def test_a_class_that_was_not_measured_shows_a_dash(self):
        table = tables.class_table(self.rows(), NAMES)
        assert [line[:3] for line in table.rows] == [["cat", "1", "-"], ["dog", "2", "50.00"]]
        nothing = self.rows()[:1]
        nothing[0] |= {"class_accuracy": {}, "not_measured": [0], "average_accuracy": None}
        _, lines = cells(tables.accuracy_table(nothing, NAMES))
        assert lines["1 (cat)"][:3] == ["1", "0", "n/a"] and lines["1 (cat)"][5] == "-"


class TestRunReport:
    def test_holds_every_part_with_the_scenario_first(self, tmp_path):
        found = read_run(write_run(tmp_path, [row(1), row(2)], samples=[2]))
        text = tables.run_report(found)
        assert text.splitlines()[0] == "class-incremental, 3 tasks of 1 class, toys"
        assert text.splitlines()[-1] == f"Pictures: {tmp_path}/samples/"
        for part in (tables.accuracy_table, tables.growth_table, tables.cost_table):
            assert tables.text_table(*part(found.rows, found.class_names)) in text
        assert "task 1: identical after 1 later task" in text

    def test_columns_are_aligned(self):
        text = tables.text_table(*tables.accuracy_table([row(1), row(2)]))
        assert len({len(line) for line in text.splitlines()}) == 1

    def test_a_run_without_a_finished_task_says_so(self, tmp_path):
        text = tables.run_report(read_run(write_run(tmp_path, [])))
        assert text.splitlines()[1:] == ["no task finished yet"]
