import copy
import json

import pytest

from dgm_tf.reporting import report


def row(task, **changes):
    """A finished task of a stream with one class per task and two layers of 8 and 4 units."""
    return {
        "task": task,
        "classes_seen": list(range(task)),
        "average_accuracy": 0.9,
        "class_accuracy": {str(c): 0.9 for c in range(task)},
        "forgetting": None if task == 1 else 0.05,
        "backward_transfer": None if task == 1 else -0.05,
        "newest_class_share": {"predictions": 0.5, "test_set": 0.25},
        "layer_widths": [8 + task, 4],
        "initial_layer_widths": [8, 4],
        "layers": [{"free": 30, "initial_free": 20}, {"free": 11, "initial_free": 10}],
        "generator_parameters": 12345,
        "free_fraction": 0.5,
        "epochs": 3,
        "steps": 100,
        "seconds": 61.0,
        "audit": {str(earlier): 0 for earlier in range(1, task)},
        "audit_pixels": {str(earlier): 16384 for earlier in range(1, task)},
    } | changes


def cells(table):
    """Header and rows of a text table, by column; columns are at least two spaces apart."""
    lines = [[c.strip() for c in line.split("  ") if c.strip()] for line in table.splitlines()]
    return lines[0], lines[1:]


class TestAccuracyTable:
    def test_has_a_line_per_task_in_percent(self):
        rows = [
            row(1),
            row(
                2,
                average_accuracy=0.98765,
                class_accuracy={"0": 0.9875, "1": 0.75},
                forgetting=-0.0125,
                backward_transfer=0.0125,
                newest_class_share={"predictions": 0.156, "test_set": 0.1},
            ),
        ]
        header, lines = cells(report.accuracy_table(rows))
        assert header == [
            "task", "classes", "A_t", "forgetting", "BWT",
            "lowest class", "newest predicted", "in test",
        ]  # fmt: skip
        assert lines[1] == ["2", "2", "98.77", "-1.25", "1.25", "75.00 (class 1)", "15.60", "10.00"]

    def test_what_is_not_defined_is_na_and_never_zero(self):
        _, lines = cells(report.accuracy_table([row(1)]))
        assert lines[0][3:5] == ["n/a", "n/a"]
        assert "forward transfer: n/a" in report.accuracy_table([row(1)])

    def test_a_measured_zero_is_zero(self):
        _, lines = cells(report.accuracy_table([row(1), row(2, forgetting=0.0)]))
        assert lines[1][3] == "0.00"

    def test_a_row_without_the_measures_still_makes_a_line(self):
        bare = {"task": 1, "class_accuracy": {"0": 1.0}}
        _, lines = cells(report.accuracy_table([bare]))
        assert lines[0] == ["1", "1", "n/a", "n/a", "n/a", "100.00 (class 0)", "n/a", "n/a"]

    def test_columns_are_aligned(self):
        lines = report.accuracy_table([row(1), row(2)]).splitlines()[:-1]
        assert len({len(line) for line in lines}) == 1


class TestGrowthTable:
    def test_units_stand_beside_the_worst_case_of_the_paper(self):
        # 140 units, as in Figure 2; after task 2 the worst case has added 140 twice: 420.
        initial = [80, 40, 20]
        rows = [
            row(1, layer_widths=[100, 50, 20], initial_layer_widths=initial),
            row(2, layer_widths=[200, 60, 34], initial_layer_widths=initial),
        ]
        header, lines = cells(report.growth_table(rows))
        assert header[:7] == [
            "task", "layer 1", "layer 2", "layer 3", "units", "worst case", "of worst"
        ]  # fmt: skip
        assert lines[0] == ["start", "80", "40", "20", "140", "140"]
        assert lines[1][:7] == ["1", "100", "50", "20", "170", "280", "61 %"]
        assert lines[2][:7] == ["2", "200", "60", "34", "294", "420", "70 %"]

    def test_shows_the_layer_with_the_least_free_capacity_against_its_start(self):
        _, lines = cells(report.growth_table([row(1)]))
        assert lines[1][6:] == ["12,345", "50 %", "1.10"]  # 11 / 10, not 30 / 20

    def test_without_the_initial_widths_the_worst_case_is_na(self):
        bare = {"task": 1, "layer_widths": [9, 4]}
        _, lines = cells(report.growth_table([bare]))
        assert lines == [["1", "9", "4", "13", "n/a", "n/a", "n/a", "n/a", "n/a"]]


class TestTimeTable:
    def test_has_each_task_and_the_sum(self):
        rows = [row(1, seconds=30.5, steps=100), row(2, seconds=40.0, steps=50)]
        assert cells(report.time_table(rows))[1] == [
            ["1", "3", "100", "30.5 s"],
            ["2", "3", "50", "40.0 s"],
            ["all", "6", "150", "1 min 10 s"],
        ]

    def test_a_sum_with_a_part_missing_is_na(self):
        rows = [row(1), row(2, steps=None)]
        assert cells(report.time_table(rows))[1][2] == ["all", "6", "n/a", "2 min 02 s"]

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
        assert report.duration(seconds) == text


class TestAuditLines:
    def lines(self, rows):
        return report.audit_lines(rows).splitlines()

    def test_an_exact_memory_is_identical_after_every_later_task(self):
        assert self.lines([row(1), row(2), row(3)]) == [
            "task 1: identical after 2 later tasks",
            "task 2: identical after 1 later task",
            "task 3: the newest, no later task yet",
        ]

    def test_says_how_many_pixels_differ_and_since_when(self):
        rows = [row(1), row(2), row(3, audit={"1": 12, "2": 0})]
        assert self.lines(rows)[0] == "task 1: 12 of 16384 pixels differ (first after task 3)"

    def test_a_difference_is_not_forgotten_when_a_later_check_is_identical(self):
        rows = [row(1), row(2, audit={"1": 12}), row(3)]
        assert self.lines(rows)[0] == "task 1: 12 of 16384 pixels differ (first after task 2)"

    def test_the_total_is_left_out_where_no_row_has_it(self):
        rows = [row(1), row(2, audit={"1": 12}, audit_pixels=None)]
        assert self.lines(rows)[0] == "task 1: 12 pixels differ (first after task 2)"

    @pytest.mark.parametrize("audit", [{"2": 0}, {}, None])
    def test_a_check_that_was_not_made_is_not_identical(self, audit):
        rows = [row(1), row(2), row(3, audit=audit)]
        assert self.lines(rows)[0] == "task 1: not checked after task 3"

    def test_rows_that_never_were_json_have_numbers_for_keys(self):
        rows = [row(1), row(2, audit={1: 3}, audit_pixels={1: 64})]
        assert self.lines(rows)[0] == "task 1: 3 of 64 pixels differ (first after task 2)"


class TestRunReport:
    def test_holds_every_part_with_the_scenario_first(self):
        rows = [row(1), row(2)]
        text = report.run_report(rows, scenario="two tasks of digits", pictures="runs/x/samples")
        assert text.splitlines()[0] == "two tasks of digits"
        assert text.splitlines()[-1] == "Pictures: runs/x/samples"
        for part in ("accuracy_table", "growth_table", "time_table", "audit_lines"):
            assert getattr(report, part)(rows) in text

    def test_rows_read_from_a_file_give_the_same_text_and_stay_as_they_are(self):
        rows = [row(1), row(2)]
        before = copy.deepcopy(rows)
        read = [json.loads(json.dumps(r)) for r in rows]
        assert report.run_report(read, scenario="s") == report.run_report(rows, scenario="s")
        assert rows == before

    def test_a_run_without_a_finished_task_says_so(self):
        assert report.run_report([], scenario="digits") == "digits\nno task finished yet"
