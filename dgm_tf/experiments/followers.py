"""Runs of several processes: the chief does what one process does, the others learn with it.

Only the chief has a run folder, evaluates, draws and reports. Before each task it tells the others
everything that the task depends on, so that a process of which nothing was kept can take part, and
none needs to see the chief's disk.
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from dgm_tf import _checks, stopping
from dgm_tf.distribution import Distribution, used
from dgm_tf.errors import Diverged, InputError, PeerLost
from dgm_tf.learners.base import Learner
from dgm_tf.learners.keeper import TaskKeeper
from dgm_tf.learners.watch import NumbersWatch
from dgm_tf.storage.checkpoint import Every
from dgm_tf.stream import TaskStream

State = tuple[Mapping[str, Any], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Assignment:
    """What all processes do next.

    Attributes:
        task: the task to learn, from 1; 0 when there is nothing left to do.
        rate_factor: what the learning rates are multiplied by.
        learner: the learner's dictionary and arrays; None before the first task.
        found: those of the checkpoint inside the task to go on from, if there is one.
        run: what all processes must have in common, a JSON-able dictionary.
    """

    task: int
    rate_factor: float = 1.0
    learner: State | None = None
    found: State | None = None
    run: Mapping[str, Any] | None = None

    def packed(self) -> bytes:
        """The assignment as bytes, floats and arrays to the bit."""
        arrays: list[np.ndarray] = []
        states = []
        for state in (self.learner, self.found):
            if state is not None:
                meta, named = state
                state = [dict(meta), list(named)]
                arrays += [np.asarray(value) for value in named.values()]
            states.append(state)
        text = json.dumps([self.task, self.rate_factor, self.run, *states])
        buffer = io.BytesIO()
        np.savez(buffer, np.frombuffer(text.encode(), np.uint8), *arrays)
        return buffer.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> "Assignment":
        """The assignment that gave these bytes."""
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            text, *arrays = (archive[f"arr_{index}"] for index in range(len(archive.files)))
        task, rate_factor, run, *states = json.loads(text.tobytes())
        found = []
        for state in states:
            if state is not None:
                meta, names = state
                state = (meta, dict(zip(names, arrays[: len(names)], strict=True)))
                arrays = arrays[len(names) :]
            found.append(state)
        return cls(task, rate_factor, *found, run)


def announce(place: Distribution, assignment: Assignment) -> None:
    """Tells the other processes, if there are any; the chief's part."""
    if place.processes > 1:
        with place.watching_peers():
            place.from_chief(assignment.packed())


def follow(
    stream: TaskStream, learner: Learner, place: Distribution, *, run: Mapping[str, Any]
) -> None:
    """Learns what the chief announces, until there is nothing left.

    When it is asked to stop it lets the chief decide, who writes a checkpoint first: whoever stops
    a run on many machines tends to tell all of them.

    Args:
        stream: the chief's, none of its tasks opened yet.
        learner: like the chief's, and has learnt nothing.
        place: this process among the others.
        run: as in `Assignment`.

    Raises:
        PeerLost: another process has ended.
        InputError: this process was started for another run than the chief.
        dgm_tf.stopping.Stopped: it was asked to stop, and the chief has ended.
    """
    with stopping.watched():
        try:
            _follow(stream, learner, place, json.loads(json.dumps(run)))
        except PeerLost:
            if not stopping.requested():
                raise
        if stopping.requested():
            raise stopping.Stopped("stopped with the chief, who says how to go on")


def _follow(
    stream: TaskStream, learner: Learner, place: Distribution, run: Mapping[str, Any]
) -> None:
    tasks, task = None, None
    while True:
        with place.watching_peers():
            assignment = Assignment.unpacked(place.from_chief(None))
        if not assignment.task:
            return
        if differences := _checks.differences(assignment.run, run, list(run)):
            raise InputError(
                f"this process was started for another run than the chief: {'; '.join(differences)}"
            )
        if task is None or task.index != assignment.task:
            tasks = stream.tasks(start=assignment.task) if tasks is None else tasks
            task = next(tasks)
        with used(place), place.watching_peers():
            if assignment.learner is not None:
                learner = learner.restored(*assignment.learner)
            keeper = TaskKeeper(lambda *_: None, Every(), found=assignment.found, stops=False)
            try:
                with learner.slowed(assignment.rate_factor):
                    learner.learn(task, callbacks=[keeper, NumbersWatch()])
            except Diverged:
                continue  # The chief has seen the same numbers, and decides.
