"""A classifier on the memory of a run: what a whole run ends with, and what is refused."""

import json

import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.experiments import experiment
from dgm_tf.experiments.experiment import Training
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
        ({"tasks": 4}, r"has finished 3 tasks of 4: learn it to the end first, or give --tasks"),
        ({"settings": {"consolidation_start": "critic"}}, r"no critic to go on from"),
        ({"settings": {"consolidation_steps": 0}}, r"no critic to go on from"),
        ({"memory_of": "nowhere"}, r"expected a run with a finished task, .*nowhere holds none"),
    ],
)
def test_another_memory_is_refused_before_anything_is_written(memory, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        learn(tmp_path / "mine", **{"memory_of": str(memory), **options})
    assert not (tmp_path / "mine").exists()


def test_other_methods_have_no_memory_to_take(memory, tmp_path):
    settings = settings_for("digits", method="joint")
    with pytest.raises(InputError, match="--memory_of is given, --method is joint"):
        experiment.train(Training("digits", settings, method="joint", memory_of=str(memory)))
