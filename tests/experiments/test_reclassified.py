"""A classifier on the memory of a run: what a whole run ends with, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.experiments import experiment
from dgm_tf.experiments.experiment import Training
from dgm_tf.reporting.run import read_run
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.settings import settings_for

SMALL = {
    "epochs": 1,
    "batch_size": 16,
    "generator_size": 2,
    "critic_size": 2,
    "latent_dim": 16,
    "replay_buffer": 64,
    "replay_batch": 8,
    "consolidation_batch": 8,
    "consolidation_steps": 4,
    "output_follows_width": True,
}
OTHER = {
    "consolidation_start": "previous",
    "consolidation_steps": 6,
    "real_margin_share": 0.5,
    "color_jitter": 1.0,
}


def learn(folder, *, tasks=3, **options):
    settings = settings_for("digits", **{**SMALL, **options.pop("settings", {})})
    wanted = {"classes_per_task": (2, 1, 2, 5), "oracle": False, "quiet": True, **options}
    experiment.train(Training("digits", settings, run_dir=str(folder), tasks=tasks, **wanted))


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory") / "run"
    learn(folder)
    return folder


def test_it_ends_as_a_whole_run_would(memory, tmp_path):
    learn(tmp_path / "whole", settings=OTHER)
    learn(tmp_path / "mine", settings=OTHER, memory_of=str(memory), tasks=2)
    learn(tmp_path / "mine", settings=OTHER, memory_of=str(memory))
    for task in (1, 2, 3):
        _, meta, arrays = RunFolder(tmp_path / "whole").state_after(task)
        _, mine, my_arrays = RunFolder(tmp_path / "mine").state_after(task)
        assert mine == meta and my_arrays.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(my_arrays[name], array, err_msg=name)
    _, _, before = RunFolder(memory).state_after(3)
    assert any(not np.array_equal(before[name], array) for name, array in my_arrays.items())
    whole, mine = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "mine")
    )
    for row, my_row in zip(whole, mine, strict=True):
        for key in ("class_accuracy", "audit", "layer_widths", "newest_class_share"):
            assert my_row[key] == row[key]
        assert my_row["steps"] == 6 < row["steps"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": {"epochs": 2}}, r"settings.epochs is 1 there, 2 here"),
        ({"settings": {"seed": 1}}, r"settings.seed is 0 there, 1 here"),
        ({"validation_fraction": 0.3}, r"stream.validation_fraction is 0.15 there, 0.3 here"),
        ({"tasks": 4}, r"wants the checkpoints of 4 tasks, .* has none of task 4: learn it to"),
        ({"tasks": 5}, r"expected --tasks from 1 to 4, received 5"),
        ({"on_divergence": "retry"}, r"--memory_of goes with --on_divergence=stop"),
        ({"distribute": "multiworker"}, r"--memory_of goes with --distribute=none or mirrored"),
        ({"settings": {"consolidation_start": "critic"}}, r"no critic to go on from"),
        ({"settings": {"consolidation_steps": 0}}, r"no critic to go on from"),
        ({"memory_of": "nowhere"}, r"expected a run with a finished task, .*nowhere holds none"),
    ],
)
def test_another_memory_is_refused_before_anything_is_written(memory, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        learn(tmp_path / "mine", **{"memory_of": str(memory), **options})
    assert not (tmp_path / "mine").exists()


def test_its_own_folder_is_no_memory(memory):
    with pytest.raises(InputError, match="--memory_of is the run's own folder, .*--run_dir"):
        learn(memory, memory_of=str(memory / ".." / memory.name))


@pytest.mark.parametrize("tasks", [2, 3])
def test_damage_is_found_before_anything_is_learnt(memory, tmp_path, tasks):
    mine = tmp_path / "memory"
    shutil.copytree(memory, mine)
    damaged = mine / "checkpoints" / "task-03" / "arrays.npz"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    options = {"tasks": tasks, "settings": OTHER, "memory_of": str(mine)}
    if tasks == 3:
        with pytest.raises(InputError, match="task-03"):
            learn(tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()
    else:
        learn(tmp_path / "run", **options)
    shutil.rmtree(mine / "checkpoints" / "task-02")
    with pytest.raises(InputError, match=r"has none of task 2: learn it to the end first"):
        learn(tmp_path / "other", **options)


def test_a_task_learnt_at_a_lower_rate_is_refused(memory, tmp_path, monkeypatch):
    saved = RunFolder.saved

    def slowed(self, task):
        rows, *rest = saved(self, task)
        return [*rows[:-1], {**rows[-1], "divergences": ["epoch 1 of consolidation"]}], *rest

    monkeypatch.setattr(RunFolder, "saved", slowed)
    with pytest.raises(InputError, match="has learnt task 3 again at a lower rate"):
        learn(tmp_path / "run", settings=OTHER, memory_of=str(memory))


def test_its_page_says_whose_generators_it_has(tmp_path):
    learn(tmp_path / "memory", tasks=2, classes_per_task=1)
    learn(
        tmp_path / "run",
        tasks=2,
        classes_per_task=1,
        settings=OTHER,
        memory_of=str(tmp_path / "memory"),
    )
    run = read_run(tmp_path / "run")
    assert run.memory_of == str(tmp_path / "memory")
    # One class alone leaves nothing to train.
    assert [(row["epochs"], row["steps"]) for row in run.rows] == [(0, 0), (0, 6)]
    assert run.minutes is None and read_run(tmp_path / "memory").minutes > 0
    text = (tmp_path / "run" / "report.html").read_text()
    assert "generators taken from" in text and "were not recorded" not in text
    assert "generators taken from" not in (tmp_path / "memory" / "report.html").read_text()


def test_other_methods_have_no_memory_to_take(memory, tmp_path):
    settings = settings_for("digits", method="joint")
    with pytest.raises(InputError, match="--memory_of is given, --method is joint"):
        experiment.train(Training("digits", settings, method="joint", memory_of=str(memory)))
