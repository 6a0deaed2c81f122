"""Learns one task of a run again by other settings: what a setting brings there, within minutes."""

import dataclasses
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.evaluation.accuracy import Evaluation, evaluate
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import judging
from dgm_tf.experiments.class_quality import ClassQuality, generated_images, judged, real_images
from dgm_tf.learners.base import Learner
from dgm_tf.runs import provenance
from dgm_tf.settings import LearnerSettings, typed

# What the tasks before have made by them.
_DECIDED_BEFORE = (
    "variant",
    "generator_size",
    "latent_dim",
    "output_follows_width",
    "mixed_precision",
    "gan_critic_initializer",
)
# What a classifier that goes on from the one before has from it.
_CLASSIFIERS_SHAPE = ("critic_size", "critic_norm", "critic_initializer")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a task ended with.

    Attributes:
        accuracy: A_t on real test images, 0 to 1.
        own_accuracy: the same of the task's classes alone.
        quality: of the generated images, by class id of the task.
    """

    accuracy: float
    own_accuracy: float
    quality: dict[int, ClassQuality]

    def mean(self, measure: str) -> float:
        """A field of `ClassQuality`, mean over the task's classes."""
        return float(np.mean([getattr(found, measure) for found in self.quality.values()]))


@dataclasses.dataclass(frozen=True)
class Relearning:
    """What `relearn` found; as a text, a table.

    Attributes:
        dataset: the stream's name.
        learner: the learner's name, such as `dgm-w`.
        settings: the run's.
        task: the one learnt again, from 1.
        changes: settings that were other ones, by name.
        before: as the run has learnt it.
        again: by the other settings.
        seconds: that learning again took.
        command: by which it was made.
        machine: class of machine, see `dgm_tf.runs.provenance`.
        date: in UTC.
    """

    dataset: str
    learner: str
    settings: dict[str, Any]
    task: int
    changes: dict[str, Any]
    before: Outcome
    again: Outcome
    seconds: float
    command: str
    machine: dict[str, Any]
    date: str

    def __str__(self) -> str:
        changed = ", ".join(f"{name} {value}" for name, value in self.changes.items())
        titles = ("A_t, %", "its own, %", "recog., %", "Frechet", "prec., %", "recall, %")
        lines = [
            f"task {self.task} learnt again with {changed or 'the same settings'}, in "
            f"{self.seconds:.0f} s",
            "".join([f"{'':10}", *(f"{title:>12}" for title in titles)]),
        ]
        for name, found in (("before", self.before), ("again", self.again)):
            values = (
                100 * found.accuracy,
                100 * found.own_accuracy,
                100 * found.mean("recognised"),
                found.mean("frechet_distance"),
                100 * found.mean("precision"),
                100 * found.mean("recall"),
            )
            lines.append("".join([f"{name:10}", *(f"{value:12.2f}" for value in values)]))
        return "\n".join(lines)

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def relearn(
    *,
    run_dir: str,
    task: int | None = None,
    changes: Mapping[str, Any],
    images: str | None = None,
    data_dir: str | None = None,
    images_per_class: int = 2000,
    command: str = "",
) -> Relearning:
    """Learns a task of a run again from where the run stood before it; the run stays as it is.

    Args:
        run_dir: the run's folder, with its checkpoints.
        task: from 2, the first one makes the network; None for the last one finished.
        changes: settings by name, others than the run's.
        images: the folder of images that it was learnt from, for a run of `split_folder`.
        data_dir: where prepared data is.
        images_per_class: generated images of each class, and real ones at most; 4 at least.
        command: to be recorded.

    Raises:
        InputError: as `dgm_tf.experiments.judging.judge_run`, a setting that the run's method does
            not have or that its network was made by, or a value out of range.
    """
    count = _checks.integer(images_per_class, "--images_per_class", low=4)
    where = {"images": images, "data_dir": data_dir}
    stream, learner = judging.restored_generator(run_dir, task=task, **where)
    number = learner.finished_tasks
    if number < 2:
        raise InputError(
            f"expected --task from 2, received {number}: learning it again is a new run"
        )
    its = learner.settings
    settings = changed(its, changes)
    oracle = Oracle.of(stream)
    labels = stream.task_classes[number - 1]
    real = dict(zip(learner.classes_seen, real_images(stream, learner, count), strict=True))

    def outcome(learner: Learner) -> Outcome:
        found = evaluate(learner.classify, stream.seen_test(number))
        made = generated_images(learner, labels, count, seed=0)
        return Outcome(
            found.average_accuracy,
            _mean(found, labels),
            {
                label: judged(oracle, label, real[label], mine)[1]
                for label, mine in zip(labels, made, strict=True)
            },
        )

    before = outcome(learner)
    fresh, learner = judging.restored(run_dir, task=number - 1, **where)
    learner.settings = settings
    began = time.monotonic()
    learner.learn(next(fresh.tasks(number)))
    seconds = time.monotonic() - began
    return Relearning(
        stream.name,
        learner.name,
        dataclasses.asdict(its),
        number,
        dict(changes),
        before,
        outcome(learner),
        round(seconds, 1),
        command,
        provenance.machine(),
        provenance.today(),
    )


def changed(settings: LearnerSettings, changes: Mapping[str, Any]) -> LearnerSettings:
    """Settings of a run with some of them changed, from its second task on.

    Raises:
        InputError: a name that they do not have, or that a network was made by, or a value out
            of range.
    """
    types = {field.name: field.type for field in dataclasses.fields(settings)}
    _checks.known("setting", list(changes), types)
    if late := [name for name in changes if name in _DECIDED_BEFORE]:
        raise InputError(
            f"{' and '.join(late)} cannot change now, the network was made by it: learn a new run"
        )
    found = dataclasses.replace(settings, **typed(changes, types))
    shape = [name for name in changes if name in _CLASSIFIERS_SHAPE]
    if shape and found.consolidation_start == "previous":
        raise InputError(
            f"{' and '.join(shape)} cannot change while the classifier goes on from the one "
            "before, which was made by it: change consolidation_start to new, too"
        )
    return found


def _mean(found: Evaluation, labels: Iterable[int]) -> float:
    return float(np.mean([found.class_accuracy[label] for label in labels]))
