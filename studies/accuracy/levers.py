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

import dgm_tf
from dgm_tf import randomness
from dgm_tf.evaluation.accuracy import evaluate
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.learners.classifier_phase import ClassifierPhase
from dgm_tf.methods import registry
from dgm_tf.methods.settings import Recipe
from dgm_tf.networks import Critic
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
_STEPS, _BATCH, _TEACHINGS = 1000, 128, 3
_RECIPE = {field.name for field in dataclasses.fields(Recipe)}


def settings_with(
    dataset: str,
    changed: Mapping[str, Any],
    seed: int,
    *,
    recipe: str,
    method: str = "dgm",
    variant: str | None = None,
) -> dgm_tf.MethodSettings:
    """Returns a data set's settings with some changed.

    Args:
        dataset: name of the data set.
        changed: settings and constants of the recipe, by name.
        seed: of the learner.
        recipe: the name by which a recipe with changed constants is registered.
        method: one of `dgm_tf.methods.registry.METHODS`.
        variant: of DGM; None for other methods, and for DGMw.
    """
    recipes = registry.METHODS[method].settings.recipes
    others = {**changed, "seed": seed}
    of_recipe = {key: others.pop(key) for key in _RECIPE & set(others)}
    if of_recipe:
        recipes[recipe] = dataclasses.replace(recipes["tuned"], **of_recipe)
        others["recipe"] = recipe
    return dgm_tf.settings_for(dataset, method, variant=variant, **others)


def measure(
    dataset: str,
    changes: Mapping[str, Any],
    seed: int,
    *,
    method: str = "dgm",
    variant: str | None = None,
    tasks: int = 4,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Learns the first tasks and returns what held-out images say of them.

    Args:
        dataset: a name of `CLASS_ORDERS`.
        changes: settings and constants of the recipe, by name.
        seed: of the learner; images are held out by seed 0.
        method: one that generates images, or joint training.
        variant: of DGM.
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
    settings = settings_with(
        dataset, changes, seed, recipe="changed", method=method, variant=variant
    )
    learner = registry.new_learner(method, settings, stream)
    accuracy, seconds = [], []
    for task in stream.tasks(last=tasks):
        began = time.process_time()
        learner.learn(task, verbose=0)
        seconds.append(round(time.process_time() - began, 1))
        accuracy.append(100 * learner.evaluate(stream.seen_validation(task)).average_accuracy)
    if not learner.generates:
        return {"accuracy": accuracy, "seconds": seconds}
    oracle = Oracle.of(stream)
    held_out = stream.seen_validation(tasks)
    real, labels = map(np.concatenate, zip(*held_out.as_numpy_iterator(), strict=True))
    generated = {
        label: learner.generate(np.full(_GENERATED, label, np.int32), seed=9)
        for label in learner.classes_seen
    }
    judged = [
        quality(oracle, label, real[labels == label][:_COMPARED], images[:_COMPARED])
        for label, images in generated.items()
    ]
    taught = [_taught(dataset, generated, held_out, each) for each in range(_TEACHINGS)]
    columns = ("recognised", "distance", "precision", "recall")
    return {
        "accuracy": accuracy,
        "taught": taught,
        **dict(zip(columns, map(list, zip(*judged, strict=True)), strict=True)),
        "seconds": seconds,
        "parameters": learner.growth()["generator_parameters"],
    }


def _taught(
    dataset: str, generated: Mapping[int, np.ndarray], held_out: tf.data.Dataset, seed: int
) -> float:
    """Accuracy in percent, on real images, of a classifier that saw generated ones only.

    It is trained as in joint training, whatever has been changed of the learner. Ravuri & Vinyals
    2019 call the measure the classification accuracy score.
    """
    classes = np.array([*generated])
    images = tf.constant(np.concatenate([*generated.values()]))
    positions = tf.repeat(tf.range(len(classes)), _GENERATED)
    classifier = Critic(images.shape[1:], len(classes), size=16, initializer="he", seed=seed)
    classifier.build()
    phase = ClassifierPhase(
        classifier,
        dgm_tf.settings_for(dataset, "joint"),
        positions=tf.range(len(classes)),
        steps=_STEPS,
        seed=randomness.pair(seed, "taught"),
    )
    rows = np.random.default_rng(seed).integers(len(images), size=(_STEPS, _BATCH))

    def batches(start: int) -> tf.data.Dataset:
        drawn = tf.data.Dataset.from_tensor_slices(rows[start:])
        return drawn.map(lambda row: (tf.gather(images, row), tf.gather(positions, row)))

    phase.run(batches, epochs=1, steps_per_epoch=_STEPS)

    def classify(given: np.ndarray) -> np.ndarray:
        return classes[classifier.class_logits(given).numpy().argmax(axis=1)]

    return 100 * evaluate(classify, held_out).average_accuracy


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", choices=CLASS_ORDERS, required=True)
    parser.add_argument("--method", default="dgm")
    parser.add_argument("--variant", help="of DGM")
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
    found = measure(
        given.dataset,
        changes,
        given.seed,
        method=given.method,
        variant=given.variant,
        tasks=given.tasks,
        data_dir=given.data_dir,
    )
    row = {"dataset": given.dataset, "tasks": given.tasks, "change": given.change or ""}
    row |= {"method": given.method, "variant": given.variant or ""}
    row |= {"seed": given.seed} | found
    path = Path(given.rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
