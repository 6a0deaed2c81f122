"""Takes apart what a run's classifier lacks against one that has kept all images.

The run's own classifier, anew and with the same steps, is trained on other mixtures of real and
generated images of all classes seen, as many of each class. What two of them differ in is what they
cost: generated for real images, images of the wrong class, real images of the newest class alone.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from dgm_tf import _checks, randomness
from dgm_tf.evaluation.accuracy import Evaluation, evaluate
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.experiments import judging
from dgm_tf.experiments.class_quality import (
    ByClass,
    ClassQuality,
    generated_images,
    judged,
    real_images,
)
from dgm_tf.learners.base import Learner, position_table
from dgm_tf.learners.classifier import ClassifierPhase
from dgm_tf.learners.critic_learner import traced
from dgm_tf.networks import Critic
from dgm_tf.stream import to_float

ARMS = {
    "real": "real images",
    "generated": "generated images",
    "recognised": "generated images that an oracle takes for their class",
    "real newest": "real images of the last task, generated ones of those before",
}

_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class Arm:
    """A classifier trained on one mixture, on real test images.

    Attributes:
        accuracy: A_t, 0 to 1.
        class_accuracy: by class id, 0 to 1.
        newest_share: share of all predictions that fall on the last task's classes, 0 to 1.
    """

    accuracy: float
    class_accuracy: dict[int, float]
    newest_share: float

    @classmethod
    def of(cls, found: Evaluation, newest: Sequence[int]) -> "Arm":
        share = found.newest_class_share(newest)["predictions"]
        return cls(found.average_accuracy, found.class_accuracy, share)


@dataclasses.dataclass(frozen=True)
class Dissection:
    """What `dissect_run` found; as a text, a table.

    Attributes:
        task: after which the generator is taken.
        steps: that each classifier was trained for.
        images_per_class: generated images of each class, and real ones at most.
        arms: by the names of `ARMS`.
        own: the run's own classifier.
        newest_in_test: share of the last task's classes in the test set, 0 to 1.
        quality: of the generated images, by class id.
        oracle_test_accuracy: how good the oracle itself is, 0 to 1.
        seed: of the classifiers.
    """

    task: int
    steps: int
    images_per_class: int
    arms: dict[str, Arm]
    own: Arm
    newest_in_test: float
    quality: dict[int, ClassQuality]
    oracle_test_accuracy: float
    seed: int

    def __str__(self) -> str:
        lines = [
            f"after task {self.task}: classifiers of {self.steps} steps, {self.images_per_class} "
            "generated images of each class",
            f"{'A_t, %':>8}  {'newest, %':>9}  (of the test images: "
            f"{100 * self.newest_in_test:.2f})  trained on",
        ]
        shown = {text: self.arms[name] for name, text in ARMS.items() if name in self.arms}
        for text, arm in {**shown, "the run's own": self.own}.items():
            lines.append(f"{100 * arm.accuracy:8.2f}  {100 * arm.newest_share:9.2f}  {text}")
        lines.append(
            f"class by class, the share of generated images that an oracle recognises (it knows "
            f"{100 * self.oracle_test_accuracy:.2f} % of the real test images),"
        )
        lines.append("and how far they are from training images in its features:")
        titles = (f"{'class':>8}", f"{'recog., %':>11}", f"{'Frechet':>9}", f"{'prec., %':>10}")
        lines.append("".join([*titles, f"{'recall, %':>11}"]))
        for label, found in self.quality.items():
            lines.append(
                f"{label:8d}{100 * found.recognised:11.2f}{found.frechet_distance:9.2f}"
                f"{100 * found.precision:10.2f}{100 * found.recall:11.2f}"
            )
        share = 100 * float(np.mean([found.recognised for found in self.quality.values()]))
        lines.append(f"{'mean':>8}{share:11.2f}")
        return "\n".join(lines)

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def dissect_run(
    *,
    run_dir: str,
    task: int | None = None,
    images: str | None = None,
    data_dir: str | None = None,
    steps: int = 1200,
    images_per_class: int = 2000,
    seed: int = 0,
) -> Dissection:
    """Trains the classifiers of `ARMS` on a run's generator as it was after a task.

    It reads real images of finished tasks, which no method may learn from.

    Args:
        run_dir: the run's folder, with its checkpoints.
        task: from 1; None for the last one finished.
        images: the folder of images that it was learnt from, for a run of `split_folder`.
        data_dir: where prepared data is.
        steps: of each classifier.
        images_per_class: generated images of each class, and real ones at most; 4 at least.
        seed: of the classifiers.

    Raises:
        InputError: as `dgm_tf.experiments.judging.judge_run`, or a class has fewer than 4 training
            images.
    """
    steps = _checks.integer(steps, "--steps", low=1)
    count = _checks.integer(images_per_class, "--images_per_class", low=4)
    stream, learner = judging.restored_generator(
        run_dir, task=task, images=images, data_dir=data_dir
    )
    finished, classes = learner.finished_tasks, learner.classes_seen
    oracle = Oracle.of(stream)
    real = real_images(stream, learner, count)
    generated = generated_images(learner, classes, count, seed)
    hits, quality = {}, {}
    for label, own, made in zip(classes, real, generated, strict=True):
        hits[label], quality[label] = judged(oracle, label, own, made)
    newest = stream.task_classes[finished - 1]
    mixtures = {"real": real, "generated": generated}
    if all(hit.any() for hit in hits.values()):
        mixtures["recognised"] = [
            made[hit] for made, hit in zip(generated, hits.values(), strict=True)
        ]
    old = len(classes) - len(newest)
    if old:
        mixtures["real newest"] = [*generated[:old], *real[old:]]
    test = stream.seen_test(finished)
    own = evaluate(learner.classify, test)
    return Dissection(
        finished,
        steps,
        count,
        {
            name: Arm.of(evaluate(_trained(learner, mixture, steps, seed), test), newest)
            for name, mixture in mixtures.items()
        },
        Arm.of(own, newest),
        own.newest_class_share(newest)["test_set"],
        quality,
        oracle.test_accuracy,
        seed,
    )


def _trained(
    learner: Learner, images: ByClass, steps: int, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """`classify` of a critic that has learnt a mixture as the run's own learns replay."""
    settings = learner.settings
    critic = Critic(
        images[0].shape[1:],
        len(images),
        size=settings.critic_size,
        norm=settings.critic_norm,
        initializer=settings.critic_initializer,
        seed=randomness.derive(seed, "dissection critic"),
        name="critic",
    )
    critic.build()
    classes = np.asarray(learner.classes_seen, np.int32)
    phase = ClassifierPhase(
        critic,
        settings,
        positions=position_table(learner.classes_seen),
        steps=steps,
        seed=randomness.pair(seed, "dissection"),
    )

    def batches(*, start: int) -> tf.data.Dataset:
        return _balanced(images, classes, settings.consolidation_batch, steps, seed).skip(start)

    phase.run(batches, epochs=1, steps_per_epoch=steps)
    logits = traced(lambda batch: critic(batch)[1], tf.TensorSpec([None, *critic.image_shape]))

    def classify(batch: np.ndarray) -> np.ndarray:
        parts = [
            logits(tf.constant(batch[first : first + _CHUNK])).numpy()
            for first in range(0, len(batch), _CHUNK)
        ]
        return classes[np.concatenate(parts).argmax(axis=1)]

    return classify


def _balanced(
    images: ByClass, classes: np.ndarray, batch: int, steps: int, seed: int
) -> tf.data.Dataset:
    """Batches of float32 images in [-1, 1] and class ids, the classes taking turns."""
    size = images[0].shape[1]
    counts = np.array([len(own) for own in images])
    starts = np.cumsum(counts) - counts
    levels = tf.constant(np.concatenate(images))
    order = randomness.pair(seed, "dissection order")

    def load(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        positions = (tf.range(batch) + tf.cast(step, tf.int32) * batch) % len(images)
        places = randomness.uniform([batch], randomness.fold(order, step))
        places *= tf.gather(tf.constant(counts, tf.float32), positions)
        rows = tf.gather(tf.constant(starts, tf.int32), positions) + tf.cast(places, tf.int32)
        return to_float(tf.gather(levels, rows), size), tf.gather(classes, positions)

    return tf.data.Dataset.range(steps).map(load).prefetch(2)
