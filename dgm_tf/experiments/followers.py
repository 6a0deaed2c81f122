"""Runs of several processes: the chief does what one process does, the others learn with it.

Only the chief has a run folder, evaluates, generates images and reports. Before each task it tells
the others all that the task depends on, so that a new process can take part without its disk.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dgm_tf import _checks
from dgm_tf.data.stream import TaskStream
from dgm_tf.data.task import Task
from dgm_tf.devices.distribution import Distribution, used
from dgm_tf.errors import Diverged, InputError, PeerLost
from dgm_tf.learners.learner import Learner
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.learners.watch import NumbersWatch
from dgm_tf.storage.arrays import pack, unpack
from dgm_tf.storage.checkpoint import Every
from dgm_tf.terminal import stopping

State = tuple[Mapping[str, Any], Mapping[str, np.ndarray]]


class Crew:
    """The processes of a run: here only one, on the devices of `place`."""

    def __init__(self, place: Distribution) -> None:
        self._place = place

    def devices(self) -> contextlib.AbstractContextManager[Any]:
        """A block in which learners are made and trained on the run's devices."""
        return used(self._place)

    @contextlib.contextmanager
    def learning(self, task: Task, learner: Learner, found: State | None) -> Iterator[None]:
        """A block in which all processes learn a task.

        Args:
            task: the task.
            learner: as it is before the task.
            found: dictionary and arrays of the checkpoint inside the task to resume from, if any.

        Raises:
            PeerLost: another process has ended.
        """
        with self.devices(), self._place.watching_peers():
            yield

    def ends(self) -> None:
        """Says that nothing is left to do."""


class Leader(Crew):
    """The chief's part of a run of several processes.

    All processes must have the JSON-able dictionary `run` in common.
    """

    def __init__(self, place: Distribution, run: Mapping[str, Any]) -> None:
        super().__init__(place)
        self._run = run

    @contextlib.contextmanager
    def learning(self, task: Task, learner: Learner, found: State | None) -> Iterator[None]:
        state = learner.state() if learner.finished_tasks else None
        self._announce(Assignment(task.index, state, found, self._run))
        with super().learning(task, learner, found):
            yield

    def ends(self) -> None:
        self._announce(Assignment(task=0))

    def _announce(self, assignment: "Assignment") -> None:
        with self._place.watching_peers():
            self._place.from_chief(assignment.packed())


def crew(place: Distribution, run: Mapping[str, Any]) -> Crew:
    """The crew of a run; arguments are those of `Leader`."""
    if not place.is_chief:
        raise ValueError("a run belongs to the chief; the other processes follow it")
    return Leader(place, run) if place.processes > 1 else Crew(place)


@dataclasses.dataclass(frozen=True)
class Assignment:
    """The next thing that all processes do.

    Attributes:
        task: the task to learn, from 1; 0 when there is nothing left to do.
        learner: the learner's dictionary and arrays; None before the first task.
        found: those of the checkpoint inside the task to resume from, if there is one.
        run: as in `Leader`.
    """

    task: int
    learner: State | None = None
    found: State | None = None
    run: Mapping[str, Any] | None = None

    def packed(self) -> bytes:
        """The assignment as bytes, floats and arrays to the bit."""
        states = {"learner": self.learner, "found": self.found}
        metas = {name: state and dict(state[0]) for name, state in states.items()}
        text = json.dumps([self.task, self.run, metas]).encode()
        arrays = {"text": np.frombuffer(text, np.uint8)}
        for name, (_, named) in ((name, state) for name, state in states.items() if state):
            arrays |= {f"{name}/{key}": value for key, value in named.items()}
        return pack(arrays)

    @classmethod
    def unpacked(cls, data: bytes) -> "Assignment":
        """The assignment that gave these bytes."""
        arrays = unpack(data)
        task, run, metas = json.loads(arrays.pop("text").tobytes())
        states: dict[str, State | None] = {}
        for name, meta in metas.items():
            prefix = f"{name}/"
            mine = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            states[name] = None if meta is None else (meta, mine)
        return cls(task, run=run, **states)


class Follower:
    """A process that learns with the chief, of the same run, stream and new learner.

    `last` is the number of the last task, by default the stream's.
    """

    def __init__(
        self,
        stream: TaskStream,
        learner: Learner,
        place: Distribution,
        run: Mapping[str, Any],
        *,
        last: int | None = None,
    ) -> None:
        self._stream, self._learner, self._place, self._last = stream, learner, place, last
        self._run = json.loads(json.dumps(run))

    def run(self) -> None:
        """Learns the tasks that the chief announces, until there is nothing left.

        When it is asked to stop it lets the chief decide, who writes a checkpoint first: people who
        stop a run on many machines tend to tell all of them.

        Raises:
            PeerLost: another process has ended.
            InputError: this process was started for another run than the chief.
            dgm_tf.terminal.stopping.Stopped: it was asked to stop, and the chief has ended.
        """
        with stopping.watched():
            try:
                self._follow()
            except PeerLost:
                if not stopping.requested():
                    raise
            if stopping.requested():
                raise stopping.Stopped("stopped with the chief, who says how to resume")

    def _follow(self) -> None:
        tasks = None
        while (assignment := self._next()).task:
            differences = _checks.differences(assignment.run, self._run, list(self._run))
            if differences:
                raise InputError(
                    "this process was started for another run than the chief: "
                    f"{'; '.join(differences)}"
                )
            tasks = tasks or self._stream.tasks(start=assignment.task, last=self._last)
            if (task := next(tasks, None)) is None:
                raise InputError(
                    f"the chief learns task {assignment.task}, this process was to stop after "
                    f"task {self._last}: give all the same --max_tasks"
                )
            with used(self._place), self._place.watching_peers():
                self._learn(task, assignment)

    def _next(self) -> Assignment:
        with self._place.watching_peers():
            return Assignment.unpacked(self._place.from_chief(None))

    def _learn(self, task: Task, assignment: Assignment) -> None:
        if assignment.learner is not None:
            self._learner.load(*assignment.learner)
        checkpoint = TaskCheckpoint(lambda *_: None, Every(), found=assignment.found, stops=False)
        # Of a divergence the chief sees the same numbers, and says what follows.
        with contextlib.suppress(Diverged):
            self._learner.learn_task(task, callbacks=[checkpoint, NumbersWatch(task)])
