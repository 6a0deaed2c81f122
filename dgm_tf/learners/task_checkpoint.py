"""Checkpoints inside a task, from which it is resumed to the same bits."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from dgm_tf.devices import distribution
from dgm_tf.errors import Diverged, InputError
from dgm_tf.storage.checkpoint import Every
from dgm_tf.terminal import stopping

# save(steps, meta, arrays): steps of the task so far, a JSON-able dictionary, arrays by name.
Save = Callable[[int, dict[str, Any], dict[str, np.ndarray]], None]


class TaskCheckpoint(keras.callbacks.Callback):
    """Writes checkpoints inside a task, and resumes a task that was cut short.

    It goes to `learn` among the callbacks; `Phase.run` finds it there and calls it. A checkpoint
    holds, for each phase of the task so far, its name, its steps, the history of its finished
    epochs, and every variable that the rest of the task depends on.

    Args:
        save: writes a checkpoint.
        every: how often.
        found: the dictionary and the arrays of the checkpoint to resume from, as `save` got them.
        stops: whether it stops the run when that is asked for.
        title: of the task, for the line that says where it has stopped.

    Attributes:
        found_steps: steps of the task that were done before.
    """

    # Keras then need not wait for each step's losses before it begins the next one.
    async_safe = True

    def __init__(
        self,
        save: Save,
        every: Every,
        *,
        found: tuple[Mapping[str, Any], Mapping[str, np.ndarray]] | None = None,
        stops: bool = True,
        title: str = "a task",
    ) -> None:
        super().__init__()
        self._save, self._every, self._stops, self._title = save, every, stops, title
        meta, self._found_arrays = found or ({}, {})
        self._found: list[Mapping[str, Any]] = list(meta.get("phases", ()))
        self._finished: list[tuple[dict[str, Any], dict[str, np.ndarray]]] = []
        self._phase: Any = None
        self._steps_per_epoch = 1
        self._start = time.monotonic() - float(meta.get("seconds", 0.0))
        self.found_steps = self._saved_steps = sum(phase["steps"] for phase in self._found)
        self._saved_at = time.monotonic()

    @property
    def steps(self) -> int:
        """Steps of the task so far, over all its phases."""
        running = 0 if self._phase is None else self._phase.done
        return sum(described["steps"] for described, _ in self._finished) + running

    @property
    def seconds(self) -> float:
        """Time spent on the task, earlier processes' included."""
        return time.monotonic() - self._start

    # For a phase.

    def begin(self, phase: Any, steps_per_epoch: int) -> Mapping[str, list[float]]:
        """Takes the phase that is run next, and restores it if it was begun before.

        Returns:
            What its finished epochs have logged.

        Raises:
            InputError: the checkpoint does not fit the phase.
        """
        self._phase, self._steps_per_epoch = phase, steps_per_epoch
        index = len(self._finished)
        if index >= len(self._found):
            return {}
        found = self._found[index]
        if found["phase"] != phase.phase:
            raise InputError(
                f"expected a checkpoint inside the phase {phase.phase}, found one inside "
                f"{found['phase']}: delete the checkpoints of the unfinished task"
            )
        for name, variables in _owned(phase, finished=found["finished"]).items():
            for place, variable in enumerate(variables):
                value = self._found_arrays.get(f"{index}/{name}/{place}")
                if value is None or value.shape != tuple(variable.shape):
                    raise InputError(
                        f"the checkpoint does not fit variable {place} of {name} in the phase "
                        f"{found['phase']}: delete the checkpoints of the unfinished task"
                    )
                variable.assign(value)
        phase.step.assign(found["steps"])
        phase.done = found["steps"]
        return found["history"]

    def step_done(self) -> None:
        """Writes a checkpoint if one is due or the run is to stop.

        Raises:
            dgm_tf.terminal.stopping.Stopped: the run is to stop.
            Diverged, InputError: as in `save`.
        """
        if self._stops and stopping.requested():
            if not self.save() and (trouble := self._trouble()):
                raise trouble
            raise stopping.Stopped(
                f"stopped at step {self.steps} of {self._title}; the same command resumes it from "
                "there"
            )
        every = self._every
        if (every.steps and self.steps - self._saved_steps >= every.steps) or (
            every.seconds and time.monotonic() - self._saved_at >= every.seconds
        ):
            self.save()

    def end(self) -> None:
        """Counts the phase as finished."""
        self._finished.append(self._recorded(finished=True))
        self._phase = None

    # Checkpoints.

    def save(self) -> bool:
        """Writes a checkpoint of the task as it is now; returns whether it did.

        Raises:
            Diverged: it is past saving: what has been kept before is better.
            InputError: the checkpoint cannot be written.
        """
        if trouble := self._trouble():
            if distribution.present().processes > 1:
                return False  # The others go on to the epoch's end, where all see it.
            raise trouble
        records = list(self._finished)
        if self._phase is not None:
            records.append(self._recorded(finished=False))
        arrays = {
            f"{index}/{name}": array
            for index, (_, own) in enumerate(records)
            for name, array in own.items()
        }
        meta = {"phases": [described for described, _ in records], "seconds": self.seconds}
        self._save(self.steps, meta, arrays)
        self._saved_steps, self._saved_at = self.steps, time.monotonic()
        return True

    def _trouble(self) -> Diverged | None:
        """A loss that was no finite number: its mean is none either, to the epoch's end."""
        means = {} if self._phase is None else self._phase.means.by_name()
        for name, value in means.items():
            if not np.isfinite(value):
                epoch = (self._phase.done - 1) // self._steps_per_epoch + 1
                return Diverged(
                    f"{name} is no finite number ({value})",
                    f"epoch {epoch} of {self._phase.phase}",
                )
        return None

    def _recorded(self, *, finished: bool) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The phase as it is now: what a checkpoint says of it, and its variables."""
        phase = self._phase
        # The lists of the live history still grow.
        history = {name: list(values) for name, values in phase.history.history.items()}
        described = {
            "phase": phase.phase,
            "steps": phase.done,
            "finished": finished,
            "history": history,
        }
        arrays = {
            f"{name}/{place}": variable.numpy()
            for name, variables in _owned(phase, finished=finished).items()
            for place, variable in enumerate(variables)
        }
        return described, arrays


def _owned(phase: Any, *, finished: bool) -> dict[str, Sequence[Any]]:
    """Variables by owner: those that the rest of the phase depends on, or what it leaves behind."""
    owned = {f"networks/{name}": network.weights for name, network in phase.networks().items()}
    owned["means"] = phase.means.variables
    return owned if finished else owned | phase.own_variables()
