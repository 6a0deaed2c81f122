"""Run folders of each format that was ever written can be read and continued."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dgm_tf.errors import InputError
from dgm_tf.evaluation.memory_audit import MemoryAudit
from dgm_tf.experiments import experiment
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.keeper import TaskKeeper
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.settings import METHODS, DGMSettings, added, method_of, recorded

# One per format. Each is a run of DGM on digits that ended inside its second task of two, at the
# step given; settings.json has its command.
GOLDEN = {path.name: path for path in (Path(__file__).parent / "golden").iterdir()}
STEP = 18


@pytest.fixture(params=sorted(GOLDEN))
def folder(request, tmp_path):
    return shutil.copytree(GOLDEN[request.param], tmp_path / "run")


def training(folder):
    described = RunFolder(folder).state_after(1)[0]
    settings = recorded(DGMSettings, described["settings"])
    return experiment.Training(
        "digits", settings, classes_per_task=5, run_dir=str(folder), oracle=False, quiet=True
    )


def test_a_finished_task_of_an_earlier_format_is_still_known(folder):
    _, meta, arrays = RunFolder(folder).state_after(1)
    learner = DGM.from_state(meta, arrays)
    assert learner.settings.critic_initializer == "normal"  # the only one there was
    assert learner.classes_seen == (0, 1, 2, 3, 4)
    audit = MemoryAudit(folder / "audit", finished_tasks=1)
    with np.load(folder / "audit" / "task-01.npz") as record:
        assert sum(audit.pixels.values()) == np.prod(record["images"].shape[:3])
        for label, seed in zip(record["classes"], record["seeds"], strict=True):
            drawn = learner.generate(np.full(16, label), seed=int(seed))
            # Another processor may round the last bit another way.
            np.testing.assert_allclose(drawn, record["images"][16 * label :][:16], atol=1e-5)


def test_a_task_cut_short_in_an_earlier_format_goes_on(folder, monkeypatch, capsys):
    class Reached(BaseException):
        """The first step that is new."""

    def look(self):
        assert self.found_steps == STEP
        raise Reached(self.steps)

    monkeypatch.setattr(TaskKeeper, "look", look)
    with pytest.raises(Reached, match=str(STEP + 1)):
        experiment.train(training(folder))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("learner", ["x", "dgm-w", "joint", "mergan_ra"])
def test_a_setting_that_a_folder_is_too_old_for_still_tells_runs_apart(learner, tmp_path):
    def opened(**settings):
        description = {"learner": learner, "settings": {"epochs": 1, **settings}, "stream": {}}
        with RunFolder(tmp_path).opened(description, tasks=1) as taken:
            return taken

    before = opened()
    for name, value in added(METHODS.get(method_of(learner), DGMSettings)).items():
        assert opened(**{name: value})._identity == before._identity
        with pytest.raises(InputError, match=f"settings.{name} is null there"):
            opened(**{name: f"not {value}" if isinstance(value, str) else value + 0.5})
