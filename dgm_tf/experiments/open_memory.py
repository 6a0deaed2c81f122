"""A memory that grows: a run folder whose stream has no end, learnt in any number of commands."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, memories
from dgm_tf.data.datasets import DEFAULT_SIZE
from dgm_tf.data.task import Task
from dgm_tf.devices import distribution
from dgm_tf.errors import InputError
from dgm_tf.experiments.followers import State
from dgm_tf.experiments.open_stream import OpenStream
from dgm_tf.experiments.options import FOLDER, LearnOptions, RunOptions, SettingsOptions
from dgm_tf.experiments.run import Run
from dgm_tf.methods.registry import METHODS, check_known, new_learner, reading_state
from dgm_tf.methods.settings import later_names, setting_names
from dgm_tf.reporting import tensorboard
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.runs.run_format import OPEN
from dgm_tf.storage import checkpoint, paths
from dgm_tf.storage.files import check_writable
from dgm_tf.terminal import printing

# In a checkpoint inside a task: fingerprints of the images that it learns from, and as in its row
# the settings that are not those that the memory was made with.
_IMAGES = "images"
_SETTINGS = "settings"


class OpenRun(Run):
    """One command that adds classes to a memory; see `Run`.

    Args:
        memory: the run's folder.
        stream: the classes at hand.
        learner: a learner that has learnt nothing.
        options: all that the numbers do not depend on.
        place: the devices to learn on.
        changes: settings for the tasks to come, of `later_names`; the others are those of the last
            task learnt.
    """

    # The images of a finished task may be gone, so that none is learnt again.
    _repeats_tasks = False

    def __init__(
        self,
        memory: str | Path,
        stream: OpenStream,
        learner: Any,
        options: RunOptions,
        place: distribution.Distribution,
        changes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        options = dataclasses.replace(options, run_dir=str(memory), oracle=False)
        super().__init__(stream, learner, options, place=place)
        self._made = self._folder.description() if self._folder.exists() else None
        self._made_with, self._changes = learner.settings, changes

    def _description(self) -> dict[str, Any]:
        """A memory that is there stays what it is: `prepare` has compared what was asked for."""
        return self._made or super()._description()

    def _restore(self) -> None:
        super()._restore()
        self._check_rows()
        self._change_settings()
        self.stream.begin(self.rows)
        _check_tasks(self.stream, self.learner.settings)
        self._last, self._known = len(self.stream), len(self.rows)

    def _check_rows(self) -> None:
        """Refuses a table that says of other classes that they are known than the learner does."""
        told = [(*row["classes"], *row["class_names"]) for row in self.rows]
        names = iter(self.learner.class_names)
        known = [
            (*classes, *itertools.islice(names, len(classes)))
            for classes in self.learner.task_classes
        ]
        if told != known:
            raise InputError(
                f"metrics.jsonl in {self.path} names other classes than the last checkpoint: "
                "delete that file, and it is written again"
            )

    def _change_settings(self) -> None:
        """Sets those of the tasks to come: those of the last one, changed as this command says.

        The last one may be a task that another command has begun.
        """
        self._begun = self._folder.unfinished(len(self.rows) + 1)
        before = self.rows[-1].get(_SETTINGS, {}) if self.rows else {}
        if self._begun is not None:
            before = self._begun[0].get(_SETTINGS, {})
        known = later_names(type(self._made_with))
        _refuse_unknown(f"the last task of {self.path} was learnt", before, known)
        with reading_state():
            last = dataclasses.replace(self._made_with, **before)
        self.learner.settings = dataclasses.replace(last, **self._changes)
        then, now = last.as_json(), self.learner.settings.as_json()
        self._changed = [
            f"{name} is {value}, was {then[name]}" for name, value in _other(now, then).items()
        ]

    def _own_settings(self) -> dict[str, Any]:
        """The settings that are not those that the memory was made with."""
        return _other(self.learner.settings.as_json(), self._made_with.as_json())

    def _greeting(self) -> str:
        stream, new = self.stream, self._last - len(self.rows)
        passed = _checks.listed(stream.known)
        known = f"; known already, so passed over: {passed}" if passed else ""
        fresh = stream.class_names[sum(len(row["classes"]) for row in self.rows) :]
        count = len(stream.class_names) - len(fresh)
        lines = [
            stream.scenario,
            f"memory: {self.path}, {count} {'class' if count == 1 else 'classes'} so far",
            f"new: {_checks.listed(fresh) if new else 'nothing'}{known}",
        ]
        if new and self._changed:
            lines.append(f"from now on: {'; '.join(self._changed)}")
        return "\n".join([*lines, *stream.remarks])

    # A checkpoint inside a task goes on only with the images and settings that it was begun with.

    def _keep_unfinished(
        self, task: Task, steps: int, meta: dict[str, Any], arrays: dict[str, np.ndarray]
    ) -> None:
        own = {_IMAGES: self._images(task), _SETTINGS: self._own_settings()}
        super()._keep_unfinished(task, steps, {**meta, **own}, arrays)

    def _unfinished(self, task: Task) -> State | None:
        # Only the first task of a command can have been begun by another one.
        found, self._begun = self._begun, None
        if found is None:
            return None
        begun, here = found[0].pop(_IMAGES, {}), self._images(task)
        images = [name for name in _differing(begun, here) if name in begun and name in here]
        settings = _differing(found[0].pop(_SETTINGS, {}), self._own_settings())
        if begun == here and not settings:
            return found
        what = [f"other images of {_checks.listed(images)}"] if images else []
        what += [f"other classes ({_checks.listed(begun)})"] if {*begun} != {*here} else []
        what += [f"other values of {_checks.listed(settings)}"] if settings else []
        printing.warn(
            f"task {task.index} was begun with {' and '.join(what)}; it begins again with these"
        )
        return None

    def _images(self, task: Task) -> dict[str, str]:
        return dict(zip(task.class_names, self.stream.told(task)["fingerprints"], strict=True))

    def _learn(self, task: Task, log: Any) -> dict[str, Any]:
        told = self.stream.told(task)  # Its images are gone when it is learnt.
        own = self._own_settings()
        return super()._learn(task, log) | told | ({_SETTINGS: own} if own else {})

    def _report(self) -> None:
        if len(self.rows) > self._known:  # What was learnt before was reported then.
            super()._report()

    def _evaluated(self, task: Task, test: Any) -> dict[str, Any]:
        if test is not None:
            row = super()._evaluated(task, test)
        else:
            row = {
                **dict.fromkeys(("average_accuracy", "forgetting", "backward_transfer")),
                "class_accuracy": {},
                "newest_class_share": {"predictions": None, "test_set": None},
            }
        return row | {"not_measured": self._not_measured(row["class_accuracy"])}


def _other(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """The items of a dictionary that another one does not have."""
    return {name: value for name, value in here.items() if value != there.get(name)}


def _differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys under which two dictionaries differ."""
    return sorted({*_other(then, now), *_other(now, then)})


def prepare(
    learn: LearnOptions,
    asked: Mapping[str, Any],
    overrides: Mapping[str, Any],
    options: RunOptions,
) -> OpenRun:
    """The run that adds classes to a memory, or makes it; bad requests are refused before any work.

    Args:
        learn: the memory and the images.
        asked: fields of `SettingsOptions` that are given. A memory that is there has its own.
        overrides: settings that win over those of the preset. Of a memory that is there they are
            changed for the tasks to come.
        options: all that the numbers do not depend on.

    Raises:
        InputError: the memory was made with other settings that stay for good, or is no memory; or
            the images cannot be learnt.
    """
    if options.distribute == "multiworker":
        raise InputError(
            "a memory is learnt by one process: give --distribute=mirrored for several devices"
        )
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    memories.check_not_written(
        learn.memory,
        "in Python dgm_tf.load opens it, learn adds a class, and save writes it to a folder of "
        "yours; here name another --memory",
    )
    check_writable(learn.memory)
    paths.check_apart((learn.images, learn.test_images), learn.memory, "--memory")
    if options.tensorboard:
        tensorboard.check_installed()
    folder, changes = RunFolder(learn.memory), {}
    if folder.exists():
        stream, method, settings, changes = _of_memory(folder, learn, asked, overrides)
    else:
        stream, method, settings = _of_new(learn, asked, overrides)
    place = distribution.start(options.distribute, replicas=options.replicas)
    with distribution.used(place):
        learner = new_learner(method, settings)
    learner.check_replicas(place.replicas)
    return OpenRun(learn.memory, stream, learner, options, place, changes)


def _of_new(
    learn: LearnOptions, asked: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[OpenStream, str, Any]:
    chosen = SettingsOptions(**asked)
    if METHODS[chosen.method].needs_stream:
        raise InputError(
            f"--method={chosen.method} needs the images of all classes at once, and a memory has "
            "those of the newest only: choose another method"
        )
    folder = RunFolder(learn.memory).path
    if (folder / checkpoint.STATE_FILE).exists():
        raise InputError(
            f"{folder} was written by a learner's save: in Python dgm_tf.load opens it, and learn "
            "adds a class; here name another --memory"
        )
    RunFolder(folder).check_new()
    name = folder.resolve().name
    if not _checks.is_line(name):
        raise InputError(f"the name of a memory must be text of one line, received {name!a}")
    settings = chosen.resolve(FOLDER, overrides)
    size = DEFAULT_SIZE if learn.image_size is None else learn.image_size
    stream = _stream(learn, settings, name=name, image_size=size, colours=None)
    stream.begin([])  # What cannot be learnt is found before the memory is made.
    _check_tasks(stream, settings)
    return stream, chosen.method, settings


def _of_memory(
    folder: RunFolder, learn: LearnOptions, asked: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[OpenStream, str, Any, dict[str, Any]]:
    """Its stream, method, the settings that it was made with, and those to change from now on."""
    description = folder.description()
    described = description["stream"]
    if described.get("kind") != OPEN:
        raise InputError(
            f"{folder.path} holds a run of {described['name']}, whose classes were all known at "
            "its start: none can be added; name another --memory"
        )
    method, size = description["learner"].partition("-")[0], described["image_shape"][0]
    kept = _settings_of_memory(folder.path, method, description["settings"])
    settings = kept.as_json()
    chosen = SettingsOptions(**{"method": method, **asked})
    if chosen.names_preset():
        wanted = chosen.resolve(FOLDER, overrides).as_json()
    else:
        wanted = {**chosen.in_file(overrides), **overrides}
    wanted = json.loads(json.dumps(wanted))  # tuples as the file has them
    if "steps" in wanted and "epochs" in settings:
        wanted.setdefault("epochs", 0)  # Steps count where epochs are 0.
    changes = {name: wanted.pop(name) for name in later_names(type(kept)) & {*wanted}}
    dataclasses.replace(kept, **changes)  # A value out of range is found now.
    there = {"method": method, "image_size": size}
    there |= {name: settings[name] for name in wanted if name in settings}
    here = {"method": chosen.method, "image_size": learn.image_size or size}
    if differing := _checks.differences(there, {**here, **wanted}, [*there, *wanted]):
        raise InputError(
            f"the memory in {folder.path} has some settings for good, and "
            f"{'; '.join(dict.fromkeys(differing))}: leave the flags out, or name another --memory"
        )
    own = {"name": described["name"], "image_size": size, "colours": described["colours"]}
    return _stream(learn, kept, **own), method, kept, changes


def _settings_of_memory(path: Path, method: str, found: Mapping[str, Any]) -> Any:
    """The settings that a memory was made with; those that it is too old to have by default."""
    check_known(method, f"the memory in {path}")
    kind = METHODS[method].settings
    _refuse_unknown(f"{path} was made", found, setting_names(kind))
    with reading_state():
        return kind(**found)


def _refuse_unknown(what: str, names: Iterable[str], known: set[str]) -> None:
    if unknown := sorted({*names} - known):
        raise InputError(
            f"{what} with settings that this release does not know, {_checks.listed(unknown)}: use "
            "the release that wrote it"
        )


def _check_tasks(stream: OpenStream, settings: Any) -> None:
    if stream.new:
        settings.check_task(side=stream.image_shape[0], classes=max(map(len, stream.new)))


def _stream(learn: LearnOptions, settings: Any, **own: Any) -> OpenStream:
    return OpenStream(
        learn.images,
        seed=settings.seed,
        together=learn.together,
        test_images=learn.test_images,
        test_fraction=learn.test_fraction,
        least=settings.least_images,
        follow_links=learn.follow_links,
        **own,
    )
