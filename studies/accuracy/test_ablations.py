"""The ablations: what they change, what a run leaves, and how they are compared."""

import numpy as np
import pytest

import dgm_tf
from dgm_tf.methods.settings import DGMSettings
from studies import results
from studies.accuracy import ablations


@pytest.mark.parametrize("dataset", ablations.BUDGETS)
@pytest.mark.parametrize("name", ablations.ABLATIONS)
def test_an_ablation_changes_what_the_base_has(dataset, name, monkeypatch):
    monkeypatch.setattr(DGMSettings, "recipes", dict(DGMSettings.recipes))
    base = ablations.changed_settings(dataset, ablations.BASE)
    its = ablations.changed_settings(dataset, name)
    settings = values(ablations.settings_of(dataset, name, 3))
    before = values(ablations.settings_of(dataset, ablations.BASE, 3))
    differing = {setting for setting, value in settings.items() if value != before[setting]}
    assert bool(differing) == (name != ablations.BASE)
    assert differing == {setting for setting in its if its[setting] != base.get(setting, object())}


def values(settings):
    """Settings and the values of their recipe, by name."""
    found = vars(settings) | vars(settings.details)
    return {name: value for name, value in found.items() if name != "recipe"}


def row(name, seed, accuracy, dataset="digits"):
    return dict.fromkeys(results.COLUMNS, "") | {
        "group": f"ablations/{name}",
        "dataset": dataset,
        "tasks": 10,
        "seed": seed,
        "tasks_learnt": 10,
        **dict.fromkeys(results.MEASURES),
        "A_last": accuracy,
    }


def test_a_change_is_taken_seed_by_seed():
    rows = [row("base", 0, 80.0), row("base", 1, 60.0), row("base", 0, 1.0, "fashion_mnist")]
    rows += [row("critic-32", 0, 90.0), row("critic-32", 1, 90.0), row("critic-32", 2, 10.0)]
    base, critic = ablations.table(rows, "digits").splitlines()[2:]
    assert base.startswith("| base | 2 |  | 70.00 ± 14.14 | ")
    assert critic.startswith("| critic-32 | 3 | 20.00 ± 14.14 | 63.33 ± ")


def test_only_what_is_missing_is_learnt(tmp_path, monkeypatch, capsys):
    file = tmp_path / "runs" / "rows.csv"
    results.append(file, row("base", 0, 80.0))
    learnt = []

    def learn(dataset, name, seed, *, data_dir):
        learnt.append((dataset, name, seed, data_dir))
        return row(name, seed, 90.0)

    monkeypatch.setattr(ablations, "learn", learn)
    ablations.main([f"--rows={file}", "--names=base,critic-32", "--seeds=0,1", "--data_dir=d"])
    wanted = [("critic-32", 0), ("base", 1), ("critic-32", 1)]
    assert learnt == [("digits", name, seed, "d") for name, seed in wanted]
    assert "| critic-32 | 2 | 5.00 ± 7.07 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        ablations.main(["--names=critic"])


class Judge:
    """Recognises every image."""

    def judge(self, generate, classes, real):
        assert len(generate(np.array(classes), seed=0)) == len(classes)
        return type("Judgement", (), {"accuracy": 1.0, "frechet_distance": 2.0})


def test_a_run_is_measured_after_its_last_task():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, [60, 16, 16, 1], np.uint8)
    labels = np.repeat([0, 1, 2], 20)
    data = images, labels, images, labels
    stream = dgm_tf.class_incremental(data, image_size=16)
    learner = dgm_tf.DGM(
        epochs=1, batch_size=8, consolidation_steps=1, generator_size=2, critic_size=2
    )
    found = ablations.measure(stream, learner, Judge(), tasks=2)
    assert learner.finished_tasks == 2
    assert found["A5"] is found["A10"] is found["changed_pixels"] is None
    assert found["G_last"] == 100 and found["frechet"] == 2
    assert 0 <= found["A_last"] <= 100 and found["forgetting"] == -found["BWT"]
    # 4 g, 2 g and g units in the beginning, of which each further task may add as many.
    assert found["size"] == 100 * sum(learner.growth()["layer_widths"]) / (3 * 14)
