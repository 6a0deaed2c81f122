"""DGM on the memory of a run that has been learnt: its classifier alone is trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.learners.base import reading_state
from dgm_tf.learners.dgm import DGM
from dgm_tf.networks import Critic, Generator
from dgm_tf.runs.run_folder import RunFolder, identity
from dgm_tf.settings import CLASSIFIER_SETTINGS, DGMSettings, recorded_values
from dgm_tf.stream import Task

# No number depends on how many steps the graph takes in a call.
_FREE = CLASSIFIER_SETTINGS | {"steps_per_execution"}


class Reclassified(DGM):
    """DGM that takes each task's generator from a run and trains the classifier by other settings.

    No generated image depends on the classifier that consolidation trains, so that this ends with
    what a whole run by these settings would, to the last bit, in a fraction of its time. (A whole
    run whose training goes wrong and that retries is the exception.) Made by `of`.
    """

    _memory: RunFolder | None = None

    @property
    def memory_of(self) -> str | None:
        return None if self._memory is None else str(self._memory.path)

    @classmethod
    def of(
        cls, run_dir: str | Path, learner: DGM, *, described: Mapping[str, Any], tasks: int
    ) -> "Reclassified":
        """The learner, with the generators of a run.

        Args:
            run_dir: the run's folder, with its checkpoints.
            learner: that has learnt nothing.
            described: learner, settings and stream of the run to be made, as `settings.json` has
                them.
            tasks: how many are to be learnt.

        Raises:
            InputError: there is no such run, it has not finished so many tasks, it lacks one of
                their checkpoints or has learnt one at a lower rate, its generators are not those
                that the settings would make, or the classifier is not to be trained apart from
                the critic.
        """
        folder = RunFolder(run_dir)
        if not folder.saved_tasks():
            raise InputError(
                f"expected a run with a finished task, {folder.path} holds none; name its folder "
                "by --memory_of"
            )
        found, wanted = (_of_memory(each) for each in (folder.description(), described))
        if differences := _checks.differences(found, wanted, found):
            raise InputError(
                f"the memory of {folder.path} was made by other settings: "
                f"{'; '.join(differences)}; --settings={folder.path / 'settings.json'} takes its "
                f"own, and only {', '.join(sorted(CLASSIFIER_SETTINGS))} may be others"
            )
        settings = learner.settings
        if settings.consolidation_start == "critic" or not settings.consolidation_steps:
            raise InputError(
                "a memory holds no critic to go on from: with --memory_of give "
                "--consolidation_start=new or previous, and --consolidation_steps of 1 or more"
            )
        if missing := sorted(set(range(1, tasks + 1)) - set(folder.saved_tasks())):
            raise InputError(
                f"--memory_of wants the checkpoints of {tasks} tasks, {folder.path} has none of "
                f"task {missing[0]}: learn it to the end first, or give a smaller --tasks"
            )
        rows, _, _ = folder.saved(tasks)
        if slowed := [row["task"] for row in rows if row.get("divergences")]:
            raise InputError(
                f"{folder.path} has learnt task {slowed[0]} again at a lower rate, which other "
                "classifiers might not have asked for: --memory_of wants a run without retries"
            )
        mine = cls.from_settings(settings)
        mine._memory = folder
        for task in range(1, tasks + 1):  # damage shows now, not in an hour
            mine._generator_after(task)
        return mine

    def restored(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Reclassified":
        learner = super().restored(meta, arrays)
        learner._memory = self._memory
        return learner

    def _learn_generator(
        self, task: Task, epochs: int | None, callbacks: Sequence[Any]
    ) -> tuple[dict[str, list[float]], Generator, Critic]:
        del epochs, callbacks
        classes = len(self.classes_with(task))
        generator = self._generator_after(self.finished_tasks + 1)
        return {}, generator, self.new_critic(task.image_shape, classes)

    def _generator_after(self, task: int) -> Generator:
        if self._memory is None:
            raise InputError("Reclassified has no memory: make it by Reclassified.of")
        _, meta, arrays = self._memory.state_after(task)
        with reading_state():
            return DGM.from_state(meta, arrays).generator

    def _widened(self, generator: Generator) -> Generator:
        return generator  # as the run has left it, ready for its next task


def _of_memory(description: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's description that its generated images depend on."""
    found = identity(description)
    settings = recorded_values(DGMSettings, found["settings"])
    found["settings"] = {name: value for name, value in settings.items() if name not in _FREE}
    return found
