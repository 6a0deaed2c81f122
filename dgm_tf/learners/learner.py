"""The contract of a learner, and what all have in common."""

import abc
import contextlib
import copy
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from dgm_tf import _checks
from dgm_tf.data.own_data import LAST_CLASS, task_of
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution, onednn
from dgm_tf.errors import Diverged, InputError
from dgm_tf.image_classifier import ImageClassifier
from dgm_tf.learners import arguments, described
from dgm_tf.learners.watch import NumbersWatch
from dgm_tf.methods import presets
from dgm_tf.methods.registry import METHODS
from dgm_tf.methods.settings import MethodSettings, later_names, setting_names
from dgm_tf.runs import saved
from dgm_tf.terminal import progress, quiet

if TYPE_CHECKING:
    from typing_extensions import Self


class Learner(ImageClassifier):
    """Base class of all methods: learns classes task by task and classifies among all seen.

    Class labels are the data set's ids, in every argument and result. All randomness derives from
    the learner's seed, the task's index and the step. So a learner loaded from the end of a task
    learns further exactly as the saved one would have.

    Your own method has a `method`, `learn_task`, `image_shape`, `probabilities`, `state` and
    `load`. With `generates` it also has `generate`.
    `dgm_tf.register_method` makes it known. `NearestMean` in `dgm_tf.learners.nearest_mean` is a
    short example.

    Attributes:
        method: its name in `dgm_tf.methods.registry`.
        generates: whether it has a generator, to be audited and measured.
        shares_steps: whether several devices may share its training steps.
        origin: `versions` and `machine` of the program that first wrote it, if it was loaded.

    Args:
        settings: of the method; None for those of data without a preset.
        **changes: settings that replace those; None stands for what is there.

    Example:
        ```python
        model = dgm_tf.NearestMean()  # any learner
        images = np.random.randint(0, 256, [20, 32, 32, 3]).astype(np.uint8)
        model.learn((images, ["cat"] * 10 + ["dog"] * 10))
        model.learn((images[:5] // 2, ["bat"] * 5))  # a later day
        model.predict(images[:2])  # float32 [2, 3], the probability of each class
        model.classify(images[:2], names=True)
        model.summary()
        ```
    """

    method: str
    generates = False
    shares_steps = False
    origin: Mapping[str, Any] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if (method := METHODS.get(getattr(cls, "method", ""))) is not None:
            cls.name_arguments(method.settings)

    @classmethod
    def name_arguments(cls, settings: type[MethodSettings]) -> None:
        """Names the constructor's arguments in `inspect.signature`, as a known method has them.

        Args:
            settings: the method's settings class.
        """
        cls.__signature__ = arguments.signature(cls.__init__, settings)

    def __init__(self, settings: MethodSettings | None = None, **changes: Any):
        changes = arguments.given(changes)
        if settings is None:
            settings = presets.settings_for(None, self.method, **changes)
        else:
            _check_kind(settings, self.method)
            settings = presets.changed(settings, self.method, changes) if changes else settings
        self._tasks: list[tuple[int, ...]] = []
        self._class_names: list[str] = []
        self._settings = settings

    @property
    def settings(self) -> Any:
        """Its `MethodSettings`, which a run records.

        Between tasks they may be replaced by others that differ in what a later task may change.
        """
        return self._settings

    @settings.setter
    def settings(self, settings: MethodSettings) -> None:
        _check_kind(settings, self.method)
        if self._tasks:
            then, now = self._settings.as_json(), settings.as_json()
            fixed = {name for name in now if now[name] != then[name]} - later_names(type(settings))
            if fixed:
                raise InputError(
                    f"{_checks.listed(sorted(fixed))} cannot change once a task has been learnt: "
                    "make a new learner"
                )
        self._settings = settings

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)  # what a pickle has; a method leaves out what cannot be in one

    def __copy__(self) -> "Learner":
        learner = object.__new__(type(self))
        learner.__dict__.update(self.__dict__)
        return learner

    def __deepcopy__(self, memo: dict[int, Any]) -> "Learner":
        """Returns a copy that learns apart: what was learnt is replaced, not changed in place."""
        return copy.copy(self)

    @classmethod
    def from_preset(cls, dataset: str, *, preset: str = "tuned", **changes: Any) -> "Self":
        """Makes a learner with the settings of a known data set.

        Args:
            dataset: its name, such as "digits" or "mnist".
            preset: `"tuned"` or `"paper"`; see `dgm_tf.methods.presets`.
            **changes: settings that replace those of the preset, for DGM its `variant`, and other
                arguments of the constructor; None stands for the preset's.

        Returns:
            A learner that has learnt nothing.

        Raises:
            InputError: an unknown data set, preset or setting, or a value out of range.
        """
        _checks.one_of("method", cls.method, METHODS)
        changes = arguments.given(changes)
        names = inspect.signature(cls).parameters.keys() - {"settings"}
        names -= setting_names(METHODS[cls.method].settings)
        others = {name: changes.pop(name) for name in names & changes.keys()}
        return cls(presets.settings_for(dataset, cls.method, preset=preset, **changes), **others)

    @property
    def name(self) -> str:
        """Short name for tables and folders, such as `dgm-w`."""
        return self.method

    @property
    def classes_seen(self) -> tuple[int, ...]:
        return tuple(label for classes in self._tasks for label in classes)

    @property
    def task_classes(self) -> tuple[tuple[int, ...], ...]:
        """Classes of each finished task, in order of arrival."""
        return tuple(self._tasks)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of `classes_seen`."""
        return tuple(self._class_names)

    @property
    def finished_tasks(self) -> int:
        """Number of tasks learnt so far."""
        return len(self._tasks)

    def learn(
        self, data: Any, *, callbacks: Sequence[Any] | Any = (), verbose: str | int = "auto"
    ) -> dict[str, list[float]]:
        """Learns new classes, as one task.

        Broken off at any moment, by an error or Ctrl-C, it leaves the learner as it was.

        Args:
            data: one of
                - an open task of a stream;
                - a pair (images, labels): images uint8 or floats in [-1, 1], [N, H, W, C] or grey
                  [N, H, W], of any one size; labels [N], integers, which are the class ids, or
                  texts, whose classes get the next free ids;
                - a `tf.data.Dataset` of such pairs, with batches or single images;
                - the path of a folder with a subfolder of images for each class.
            callbacks: Keras callbacks of all training phases, or one. A phase compiles no model, so
                that those that set its rate or save it do not work.
            verbose: 0 shows nothing, 1 a live line, 2 a line per epoch; "auto" is 1 on a terminal
                and in a notebook, and 2 elsewhere.

        Returns:
            The logged quantities, one value per epoch.

        Raises:
            InputError: the data cannot be used, a class has been learnt before, or several devices
                cannot share the training.
            Diverged: a loss is no finite number or has exploded, the generator has collapsed, or
                the critic calls all old classes the newest one.
        """
        callbacks = _listed(callbacks)
        self.check_replicas(distribution.present().replicas)
        if verbose and not self.finished_tasks:
            onednn.advise()
        before, number, learnt = self.__dict__, self.finished_tasks + 1, copy.copy(self)
        with self._task_of(data) as task, progress.shown(verbose, str(task)) as shown:
            with quiet.without_chatter():
                watch = NumbersWatch(task)
                history = learnt.learn_task(task, callbacks=[*shown, *callbacks, watch])
            history = self._checked_history(history)
            learnt._check_counted(task, number)
            learnt.remember(task)
        if self.__dict__ is not before:
            raise InputError(
                f"another thread has taught this learner while {task} was learnt, which is not "
                "kept: learn one task at a time"
            )
        # One statement, so that nothing can come between.
        self.__dict__ = learnt.__dict__
        return history

    def _task_of(self, data: Any) -> contextlib.AbstractContextManager[Task]:
        return task_of(
            data,
            number=self.finished_tasks + 1,
            known=self._named_classes(),
            image_shape=self.image_shape if self.finished_tasks else None,
            least=self.settings.least_images,
        )

    def check_replicas(self, replicas: int) -> None:
        """Refuses a number of devices that cannot share the training steps.

        Args:
            replicas: number of devices.

        Raises:
            InputError: there are several, and the learner does not share its steps, or its batches
                cannot be divided.
        """
        if replicas > 1 and not self.shares_steps:
            raise InputError(
                f"{self.method} trains outside of a phase, on one device: leave --distribute out, "
                "or set the learner's shares_steps if it can"
            )
        self.settings.check_replicas(replicas)

    def _checked_history(self, history: Any) -> dict[str, list[float]]:
        """What a method logged, as lists of numbers; a phase has looked at its own."""
        try:
            taken = {
                str(name): np.ravel(values).astype(float).tolist()
                for name, values in dict(history or {}).items()
            }
        except (TypeError, ValueError) as error:
            raise InputError(
                f"learn_task of {self.name} returns the logged quantities, numbers by name, one "
                f"for each epoch; received {_checks.one_line(history, 80)}"
            ) from error
        for name, values in taken.items():
            if not np.isfinite(values).all():
                raise Diverged(f"{name} is no finite number", f"learn_task of {self.name}")
        return {name: values for name, values in taken.items() if values}

    def _check_counted(self, task: Any, number: int) -> None:
        if self.finished_tasks != number or self._tasks[-1] != tuple(task.classes):
            raise InputError(
                f"learn_task of {self.name} must count its task, once, by self.count_task(task)"
            )

    @abc.abstractmethod
    def learn_task(self, task: Any, *, callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        """Learns one task: the part that a method brings, which users reach through `learn`.

        What the learner has of earlier tasks is replaced, not changed in place: `learn` calls this
        on a copy that has the same objects, and keeps the copy's. Its last act is `count_task`.

        Args:
            task: an open task, of classes that have not been learnt.
            callbacks: Keras callbacks of all its training phases.

        Returns:
            The logged quantities, one value per epoch.
        """

    def count_task(self, task: Any) -> None:
        """Counts a task as finished.

        Args:
            task: the task that has been learnt.
        """
        # New lists: a copy of the learner may have the old ones.
        self._tasks = [*self._tasks, tuple(task.classes)]
        self._class_names = [*self._class_names, *task.class_names]

    def generate(self, labels: Any, *, seed: int = 0) -> np.ndarray:
        """Returns images float32 [N, S, S, C] in [-1, 1] of the given classes.

        The same `labels` and `seed` give bit-identical images from the same generator.

        Args:
            labels: class ids or names [N], or a single one.
            seed: from 0.

        Raises:
            InputError: a class has not been learnt, or the learner generates no images.
        """
        raise InputError(f"{self.name} has no generator")

    def remember(self, task: Task) -> None:
        """Keeps what `audit` compares with; `learn` calls it after each task.

        Args:
            task: the task that has been learnt.
        """

    def audit(self) -> dict[int, bool]:
        """Returns by task whether its fixed images have the bits that they had at its end.

        Raises:
            InputError: the learner generates no images.
        """
        raise InputError(f"{self.name} generates no images, so that there is nothing to audit")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes all that later tasks depend on, whole or not at all; `dgm_tf.load` reads it.

        Args:
            path: a folder, which is made. An earlier save there is replaced.

        Returns:
            The folder.

        Raises:
            InputError: nothing has been learnt, the folder holds something else, or it cannot be
                written.
        """
        return saved.save(self, path)

    def summary(self) -> None:
        """Prints tasks, classes, the generator's size and free capacity, and bytes."""
        print(described.summary(self))

    def __repr__(self) -> str:
        return described.line(self)

    def growth(self) -> dict[str, Any]:
        """Returns the size of the generator.

        `layer_widths` and `initial_layer_widths` (units per block), `generator_parameters`,
        `free_fraction` and `layers` (a dictionary per block). A learner with a mask per task adds
        `mask_overlap`: what the last task's mask shares with those of the tasks before, its own
        last.
        Without a generator it is empty.
        """
        return {}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns all that later tasks depend on: a JSON-able dictionary and arrays by name.

        A method adds its own to what is here: `method`, `settings`, `tasks` and `class_names`.
        """
        meta = {
            "method": self.method,
            "settings": self.settings.as_json(),
            "tasks": [list(classes) for classes in self._tasks],
            "class_names": list(self._class_names),
        }
        return meta, {}

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what `state` gave, in place of what was learnt so far.

        Args:
            meta: the dictionary.
            arrays: the arrays by name.

        Raises:
            InputError: the state is not that of such a learner.
        """
        if (method := meta["method"]) != self.method:
            raise InputError(
                f"the saved state is of the method {_checks.one_line(method, 60)}, and this "
                f"learner of {self.method}: use another folder"
            )
        self._tasks = [
            tuple(_checks.integer(label, "a class", low=0, high=LAST_CLASS) for label in classes)
            for classes in meta["tasks"]
        ]
        self._class_names = list(meta["class_names"])
        seen = self.classes_seen
        names = self._class_names
        if not all(map(_checks.is_class_name, names)) or len(set(names)) < len(names):
            raise InputError(
                "the names of classes in the saved state must be texts of one line, no two the "
                f"same; they are {_checks.one_line(names)}; use another checkpoint"
            )
        if not all(self._tasks) or not len(set(seen)) == len(seen) == len(names):
            raise InputError(
                f"the saved state has tasks {_checks.one_line(self._tasks)} and "
                f"{len(names)} names of classes, which do not fit; use another "
                "checkpoint"
            )


def _check_kind(settings: Any, method: str) -> None:
    """Refuses what is not the settings of a method."""
    wanted = METHODS[method].settings if method in METHODS else MethodSettings
    if not isinstance(settings, wanted):
        raise InputError(
            f"expected settings, a {wanted.__name__}; received {_checks.one_line(settings, 80)}: "
            'single settings are named arguments, and from_preset("digits") takes those of a data '
            "set"
        )


def _listed(callbacks: Any) -> list[Any]:
    """Keras callbacks as Keras takes them: several, one or none."""
    if callbacks is None:
        return []
    found = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for each in found:
        if not isinstance(each, keras.callbacks.Callback):
            raise InputError(
                f"expected Keras callbacks, received {_checks.one_line(ascii(each), 80)}; give "
                "objects of a subclass of keras.callbacks.Callback"
            )
    return found
