"""The order of trials, the front, and the tables, on numbers made by hand."""

import dataclasses

from dgm_tf.methods.settings import DGMSettings
from dgm_tf.tuning import results
from dgm_tf.tuning.results import TrialResult

# number: (accuracy, units, budget); objective = accuracy - units / 1000.
NUMBERS = {
    1: (0.79, 100, 1.0),
    2: (0.90, 200, 1.0),
    3: (0.85, 200, 1.0),  # as large as 2
    4: (0.90, 260, 1.0),  # as good as 2
    5: (0.95, 320, 1.0),
    6: (0.99, 50, 1 / 3),
}


def trial(number, accuracy, units, budget):
    metrics = {
        "objective": accuracy - units / 1000, "accuracy": accuracy, "growth": 1.0,
        "units": units, "parameters": 10 * units, "seconds": 1.0,
    }  # fmt: skip
    return TrialResult(number, DGMSettings(), {"s_max": 1e4}, budget, metrics)


FAILED = TrialResult(7, DGMSettings(), {"s_max": 1e3}, 1.0, {}, "out of memory")
TRIALS = [*(trial(number, *found) for number, found in NUMBERS.items()), FAILED]


def test_the_front_is_what_no_other_trial_of_the_full_budget_beats():
    assert [found.number for found in results.front(TRIALS)] == [1, 2, 5]


def test_trials_are_ranked_by_budget_then_objective_and_failed_ones_stand_last():
    assert [found.number for found in results.ranked(TRIALS)] == [2, 1, 3, 4, 5, 6, 7]


def test_the_figure_shows_every_usable_trial_and_the_front():
    axes = results.figure(TRIALS).axes[0]
    shown = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines}
    assert shown["Pareto front"] == [(100, 79.0), (200, 90.0), (320, 95.0)]
    assert len(shown["trial"]) == 2 and shown["smaller budget"] == [(50, 99.0)]
    assert "begin" in shown or "best" in shown


def test_the_table_marks_the_front_and_names_failures():
    text = results.markdown(TRIALS)
    assert "| 1 (begin) | 10000 | 100% | 69.00% | 79.00% | 1.00 | 100 | 1,000 | 1 | yes |" in text
    assert text.count("| yes |") == 3 and "| 33% |" in text
    assert text.endswith("1 failed: trial 7: out of memory.")


def test_every_trial_is_in_the_csv():
    header, *lines = results.as_csv(TRIALS).splitlines()
    assert header.startswith("trial,s_max,budget,objective,accuracy,growth,units")
    assert len(lines) == 7
    assert lines[5] == "6,10000.0,0.333333,0.94,0.99,1,50,500,1,"
    assert lines[6] == "7,1000.0,1,,,,,,,out of memory"


def test_the_settings_file_has_all_but_seed_and_budget():
    best = results.settings_file(trial(1, *NUMBERS[1]))
    assert DGMSettings(**best) == DGMSettings()
    assert not {"seed", "epochs", "steps", "consolidation_steps"} & set(best)


def test_the_settings_file_has_a_budget_that_was_searched():
    best = trial(1, *NUMBERS[1])
    found = results.settings_file(
        dataclasses.replace(best, values={**best.values, "consolidation_steps": 50})
    )
    assert found["consolidation_steps"] == DGMSettings().consolidation_steps
    assert "epochs" not in found
