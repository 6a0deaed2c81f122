"""Keeps what a task has learnt so far, so that it goes on from any step to the same bits."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dgm_tf import distribution, stopping
from dgm_tf.errors import Diverged, InputError
from dgm_tf.storage.checkpoint import Every

# save(steps, meta, arrays): steps of the task so far, a JSON-able dictionary, arrays by name.
Save = Callable[[int, dict[str, Any], dict[str, np.ndarray]], None]


@dataclasses.dataclass
class _Record:
    """One phase of a task: what it logged in each epoch, and its variables after some steps."""

    phase: str
    steps: int
    finished: bool
    history: dict[str, list[float]]
    arrays: dict[str, np.ndarray]

    def described(self) -> dict[str, Any]:
        return {
            "phase": self.phase,
            "steps": self.steps,
            "finished": self.finished,
            "history": self.history,
        }


class TaskKeeper(keras.callbacks.Callback):
    """Writes checkpoints inside a task, and leads a task that was cut short back to its last one.

    It goes to `learn` among the callbacks; `Phase.run` finds it there. A phase that is resumed is
    played back first: `fit` takes the steps that were done without computing any, every callback
    sees them and each epoch's logs, and at the last of them all variables that the phase
    names get their values. So counts, histories and logs come out as if nothing had happened. A
    phase that was finished is played back whole.

    No callback is called in a step for this: the step's own call looks at a clock and a flag.

    Args:
        save: writes a checkpoint.
        every: how often.
        found: the dictionary and the arrays of the checkpoint to go on from, as `save` got them.
        stops: whether it stops the run when that is asked for.

    Attributes:
        found_steps: steps of the task that were done before.
        seconds: time spent on the task, earlier processes' included.
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
    ) -> None:
        super().__init__()
        self._stops = stops
        self._save, self._every = save, every
        meta, self._found_arrays = found or ({}, {})
        self._found = list(meta.get("phases", ()))
        self._finished: list[_Record] = []
        self._phase: Any = None
        self._steps = self._goal = 0
        self._steps_per_epoch = self._steps_per_call = 1
        self._history: dict[str, list[float]] = {}
        self._start = time.monotonic() - float(meta.get("seconds", 0.0))
        self.found_steps = self._saved_steps = sum(phase["steps"] for phase in self._found)
        self._saved_at = time.monotonic()

    @property
    def steps(self) -> int:
        """Steps of the task so far, over all its phases."""
        return sum(record.steps for record in self._finished) + self._steps

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    @property
    def finished_before(self) -> bool:
        """Whether the present phase was finished before, and its networks are as it left them."""
        index = len(self._finished)
        return index < len(self._found) and self._found[index]["finished"]

    # For a phase.

    def begin(self, phase: Any, steps_per_epoch: int) -> int:
        """Takes the phase that is run next, and makes its step go through this keeper.

        Returns:
            Steps that the phase has done already, whose batches are not needed.
        """
        index = len(self._finished)
        self._goal = 0
        if index < len(self._found):
            found = self._found[index]
            if found["phase"] != phase.phase:
                raise InputError(
                    f"expected a checkpoint inside the phase {phase.phase}, found one inside "
                    f"{found['phase']}: delete the checkpoints of the unfinished task"
                )
            self._goal = found["steps"]
        self._phase, self._history, self._steps = phase, {}, 0
        self._steps_per_epoch = steps_per_epoch
        self._steps_per_call = phase.steps_per_execution
        phase.played_back = self._goal > 0
        phase.make_train_function()
        phase.train_function = self._kept(phase.train_function)
        return self._goal

    def end(self) -> None:
        """The phase has been run."""
        self._finished.append(self._record(finished=True))
        self._phase, self._steps = None, 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(float(value))

    def _kept(self, train_function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def step(iterator: Any) -> dict[str, Any]:
            if self._steps < self._goal:
                return self._play_back()
            logs = train_function(iterator)
            self._steps += self._steps_per_call
            self.look()
            return logs

        return step

    def _play_back(self) -> dict[str, Any]:
        self._steps += self._steps_per_call
        epoch, rest = divmod(self._steps, self._steps_per_epoch)
        if self._steps >= self._goal:
            self._restore()
            self._phase.played_back = False
        elif not rest:
            history = self._found[len(self._finished)]["history"]
            for mean in self._phase.means.values():
                # A mean of one value is that value, to the bit.
                mean.reset_state()
                mean.update_state(history[mean.name][epoch - 1])
        else:
            return {}
        return self._phase.logs()

    def _restore(self) -> None:
        index = len(self._finished)
        found = self._found[index]
        for name, variables in _owned(self._phase, finished=found["finished"]).items():
            for place, variable in enumerate(variables):
                value = self._found_arrays.get(f"{index}/{name}/{place}")
                if value is None or value.shape != tuple(variable.shape):
                    raise InputError(
                        f"the checkpoint does not fit variable {place} of {name} in the phase "
                        f"{found['phase']}: delete the checkpoints of the unfinished task"
                    )
                variable.assign(value)

    # Checkpoints.

    def look(self) -> None:
        """Writes a checkpoint if one is due or the run is to stop.

        Raises:
            dgm_tf.stopping.Stopped: the run is to stop.
            Diverged, InputError: as in `save`.
        """
        if self._stops and stopping.requested():
            if not self.save() and (trouble := self._trouble()):
                raise trouble
            raise stopping.Stopped(
                f"stopped at step {self.steps} of a task; the same command goes on from there"
            )
        every = self._every
        if (every.steps and self.steps - self._saved_steps >= every.steps) or (
            every.seconds and time.monotonic() - self._saved_at >= every.seconds
        ):
            self.save()

    def save(self) -> bool:
        """Writes a checkpoint of the task as it is now; whether it did.

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
            records.append(self._record(finished=False))
        arrays = {
            f"{index}/{name}": array
            for index, record in enumerate(records)
            for name, array in record.arrays.items()
        }
        meta = {"phases": [record.described() for record in records], "seconds": self.seconds}
        self._save(self.steps, meta, arrays)
        self._saved_steps, self._saved_at = self.steps, time.monotonic()
        return True

    def _trouble(self) -> Diverged | None:
        """A loss that was no finite number: its mean is none either, to the epoch's end."""
        for mean in self._phase.means.values() if self._phase is not None else ():
            if not np.isfinite(value := float(mean.result())):
                epoch = (self._steps - 1) // self._steps_per_epoch + 1
                return Diverged(
                    f"{mean.name} is no finite number ({value})",
                    f"epoch {epoch} of {self._phase.phase}",
                )
        return None

    def _record(self, *, finished: bool) -> _Record:
        arrays = {
            f"{name}/{place}": variable.numpy()
            for name, variables in _owned(self._phase, finished=finished).items()
            for place, variable in enumerate(variables)
        }
        # The lists of the live history still grow.
        history = {name: list(values) for name, values in self._history.items()}
        return _Record(self._phase.phase, self._steps, finished, history, arrays)


def _owned(phase: Any, *, finished: bool) -> dict[str, Sequence[keras.Variable | tf.Variable]]:
    """Variables by owner: those that the rest of the phase depends on, or what it leaves behind."""
    owned = {f"networks/{name}": network.weights for name, network in phase.networks().items()}
    owned |= {f"means/{name}": mean.variables for name, mean in phase.means.items()}
    return owned if finished else owned | phase.own_variables()
