"""Measures changed settings on held-out images, those of classes that are easily confused.

    python -m studies.accuracy.levers --dataset=svhn_cropped --seed=0
    python -m studies.accuracy.levers --dataset=svhn_cropped --seed=0 --change=sparsity=0.04
    python -m studies.accuracy.levers --dataset=digits --tasks=10 --change=class_weight=0.1

DGMw learns tasks of one class each, four unless told otherwise. No test image has a say, so that
defaults may be chosen by what comes out. Seconds are of all cores: with one thread, two changes run
side by side and their seconds can be compared.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

import dgm_tf
from dgm_tf import augmentation, losses, randomness
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.learners.phase import new_adam
from dgm_tf.networks import Critic
from dgm_tf.settings import RECIPES, Recipe
from studies.accuracy.quality import quality
from studies.accuracy.retrain import read_changes

# Classes that are taken for one another come first.
CLASS_ORDERS: Mapping[str, Sequence[int]] = {
    "digits": (3, 5, 8, 9, 0, 1, 2, 4, 6, 7),
    "mnist": (3, 5, 8, 9, 0, 1, 2, 4, 6, 7),
    "fashion_mnist": (0, 2, 4, 6, 1, 3, 5, 7, 8, 9),
    "svhn_cropped": (3, 5, 8, 6, 0, 1, 2, 4, 7, 9),
    "cifar10": (0, 1, 4, 8, 2, 3, 5, 6, 7, 9),
}
_GENERATED = 2000  # images of each class that a classifier is taught by
_COMPARED = 500
_STEPS, _BATCH, _RATE, _TEACHINGS = 1000, 128, 3e-3, 3
_RECIPE = {field.name for field in dataclasses.fields(Recipe)}
_NAME = "changed"  # of the recipe that a change makes


def measure(
    dataset: str,
    changes: Mapping[str, Any],
    seed: int,
    *,
    tasks: int = 4,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Learns the first tasks and returns what held-out images say of them.

    Args:
        dataset: a name of `CLASS_ORDERS`.
        changes: settings and constants of the recipe, by name.
        seed: of the learner; images are held out by seed 0.
        tasks: their number.
        data_dir: where prepared data is.

    Returns:
        By name: `accuracy` in percent after each task; `taught`, that of three classifiers that saw
        generated images only, after the last; and of each class what `quality.quality` returns
        (`recognised`, `distance`, `precision`, `recall`); `seconds` of each task, of all cores;
        `parameters` of the generator.
    """
    stream = dgm_tf.class_incremental(
        dataset,
        class_order=CLASS_ORDERS[dataset],
        validation_fraction=0.25,
        seed=0,
        data_dir=data_dir,
    )
    oracle = Oracle.of(stream)
    learner = dgm_tf.DGM(_settings(dataset, changes, seed))
    accuracy, seconds = [], []
    for task in stream.tasks(last=tasks):
        began = time.process_time()
        learner.learn(task, verbose=0)
        seconds.append(round(time.process_time() - began, 1))
        accuracy.append(100 * learner.evaluate(stream.seen_validation(task)).average_accuracy)
    real, labels = map(
        np.concatenate, zip(*stream.seen_validation(tasks).as_numpy_iterator(), strict=True)
    )
    generated = {
        label: learner.generate(np.full(_GENERATED, label, np.int32), seed=9)
        for label in learner.classes_seen
    }
    judged = [
        quality(oracle, label, real[labels == label][:_COMPARED], images[:_COMPARED])
        for label, images in generated.items()
    ]
    photo = learner.settings.augmentation == "photo"
    taught = [_taught(generated, real, labels, each, photo) for each in range(_TEACHINGS)]
    columns = ("recognised", "distance", "precision", "recall")
    return {
        "accuracy": accuracy,
        "taught": taught,
        **dict(zip(columns, map(list, zip(*judged, strict=True)), strict=True)),
        "seconds": seconds,
        "parameters": learner.growth()["generator_parameters"],
    }


def _settings(dataset: str, changes: Mapping[str, Any], seed: int) -> dgm_tf.DGMSettings:
    of_recipe = {name: value for name, value in changes.items() if name in _RECIPE}
    others = {name: value for name, value in changes.items() if name not in _RECIPE}
    if of_recipe:
        RECIPES[_NAME] = dataclasses.replace(RECIPES["tuned"], **of_recipe)
        others["recipe"] = _NAME
    return dgm_tf.settings_for(dataset, seed=seed, **others)


def _taught(
    generated: Mapping[int, np.ndarray],
    real: np.ndarray,
    labels: np.ndarray,
    seed: int,
    photo: bool,
) -> float:
    """Accuracy in percent, on real images, of a classifier that saw generated ones only.

    Classifiers of the learner's kind, one for each seed. Ravuri & Vinyals 2019 call the measure the
    classification accuracy score.
    """
    images = tf.constant(np.concatenate([*generated.values()]))
    positions = tf.constant(np.repeat(np.arange(len(generated)), _GENERATED), tf.int32)
    classifier = Critic(real.shape[1:], len(generated), size=16, initializer="he", seed=seed)
    classifier.build()
    variables = classifier.trainable_class_variables()
    optimizer = new_adam(CosineDecay(_RATE, _STEPS), variables)
    key = randomness.pair(seed, "taught")

    @tf.function(autograph=False)
    def step(number: tf.Tensor) -> None:
        drawn = randomness.fold(key, number)
        rows = randomness.integers([_BATCH], randomness.fold(drawn, 0), len(images))
        batch = augmentation.distorted(tf.gather(images, rows), randomness.fold(drawn, 1))
        if photo:
            batch = augmentation.recoloured(batch, randomness.fold(drawn, 2))
        with tf.GradientTape() as tape:
            logits = classifier.class_logits(batch, training=True)
            loss = losses.class_loss(logits, tf.gather(positions, rows))
        optimizer.apply(tape.gradient(loss, variables), variables)

    for number in range(_STEPS):
        step(tf.constant(number))
    found = np.concatenate(
        [classifier.class_logits(real[first:][:500]) for first in range(0, len(real), 500)]
    ).argmax(axis=1)
    hits = [np.mean(found[labels == label] == place) for place, label in enumerate(generated)]
    return 100 * float(np.mean(hits))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", choices=CLASS_ORDERS, required=True)
    parser.add_argument("--change", help="NAME=VALUE,... of settings or constants of the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=4, help="of one class each")
    parser.add_argument("--threads", type=int, help="threads of TensorFlow; default: its own")
    parser.add_argument("--rows", default="runs/levers.jsonl", help="file that gains a line")
    parser.add_argument("--data_dir", help="where prepared data is")
    given = parser.parse_args(arguments)
    if given.threads:
        tf.config.threading.set_intra_op_parallelism_threads(given.threads)
        tf.config.threading.set_inter_op_parallelism_threads(given.threads)
    changes = read_changes(given.change) if given.change else {}
    found = measure(given.dataset, changes, given.seed, tasks=given.tasks, data_dir=given.data_dir)
    row = {"dataset": given.dataset, "tasks": given.tasks, "change": given.change or ""}
    row |= {"seed": given.seed} | found
    path = Path(given.rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
