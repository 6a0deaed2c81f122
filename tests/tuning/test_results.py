"""The order of trials, the front, and the table, on numbers made by hand."""

from dgm_tf.settings import DGMSettings
from dgm_tf.tuning import results
from dgm_tf.tuning.results import TrialResult

# number: (accuracy, units, epochs); objective = accuracy - units / 1000.
NUMBERS = {
    1: (0.80, 100, 9),
    2: (0.90, 200, 9),
    3: (0.85, 200, 9),  # as large as 2
    4: (0.90, 250, 9),  # as good as 2
    5: (0.95, 300, 9),
    6: (0.99, 50, 3),  # a smaller budget
    7: (0.70, 150, 9),
}


def trials():
    made = [
        TrialResult(
            number=number,
            settings=DGMSettings(),
            values={"s_max": 1e4},
            epochs=epochs,
            metrics={
                "objective": accuracy - units / 1000, "accuracy": accuracy, "growth": 1.0,
                "units": units, "parameters": 10 * units, "seconds": 1.0,
            },
        )
        for number, (accuracy, units, epochs) in NUMBERS.items()
    ]  # fmt: skip
    return [*made, TrialResult(8, DGMSettings(), {"s_max": 1e3}, 9, {}, "out of memory")]


def numbers(found):
    return [trial.number for trial in found]


def test_the_front_is_what_no_other_trial_of_the_full_budget_beats():
    assert numbers(results.front(trials())) == [1, 2, 5]


def test_trials_are_ranked_by_budget_then_objective_and_failed_ones_stand_last():
    ranked = results.ranked(trials())
    full = [trial.metrics["objective"] for trial in ranked[:6]]
    assert full == sorted(full, reverse=True)
    assert numbers(ranked)[6:] == [6, 8]


def test_the_figure_shows_every_usable_trial_and_the_front():
    axes = results.figure(trials()).axes[0]
    drawn = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines}
    assert drawn["Pareto front"] == [(100, 80.0), (200, 90.0), (300, 95.0)]
    assert len(drawn["trial"]) == 6 and drawn["smaller budget"] == [(50, 99.0)]
    assert drawn["begin"] == [(100, 80.0)]
    assert "units" in axes.get_xlabel() and "validation" in axes.get_ylabel()


def test_the_table_marks_the_front_and_names_failures():
    text = results.markdown(trials())
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert {number for number, line in rows.items() if line.endswith("| yes |")} == {
        "1 (begin)", "2", "5"
    }  # fmt: skip
    assert "8" not in rows and "1 failed: trial 8: out of memory." in text


def test_every_trial_is_in_the_csv():
    lines = results.as_csv(trials()).splitlines()
    assert len(lines) == 9
    assert lines[-1] == "8,1000.0,9,,,,,,,out of memory"
