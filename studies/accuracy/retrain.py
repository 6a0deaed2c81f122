"""Retrains the classifiers of a finished run of DGM on its generators, by other settings.

    python -m studies.accuracy.retrain --run_dir=runs/w --change=consolidation_steps=2400

No generated image depends on the classifier, so that this ends as a whole run by these settings
would, in a fraction of its time. The run stays as it is. Accuracies are those on the run's held-out
training images, so that defaults may be chosen by them.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

import dgm_tf
from dgm_tf.experiments import judge as judging
from dgm_tf.methods.registry import load_state
from dgm_tf.methods.settings import RECIPES
from dgm_tf.networks import Generator
from dgm_tf.reporting.tables import markdown_table
from dgm_tf.runs.run_folder import RunFolder

# Settings and constants of the recipe on which no generated image depends.
CLASSIFIER_SETTINGS = frozenset(
    {
        "augmentation",
        "consolidation_batch",
        "consolidation_start",
        "consolidation_steps",
        "real_margins",
    }
)
CLASSIFIER_CONSTANTS = frozenset(
    {"consolidation_learning_rate", "distillation_weight", "real_weight"}
)


class Retrained(dgm_tf.DGM):
    """DGM that trains each task's classifier on a generator that is there.

    Args:
        settings: of the classifiers, and for the rest those that the generators were learnt by.
        generator_after: returns the generator as a run had it after a task, from 1.
    """

    def __init__(
        self, settings: dgm_tf.DGMSettings, generator_after: Callable[[int], Generator]
    ) -> None:
        if settings.consolidation_start == "critic" or not settings.consolidation_steps:
            raise dgm_tf.InputError(
                "expected consolidation_start new or previous, and consolidation_steps of 1 or "
                "more: a run keeps no critic to start from"
            )
        super().__init__(settings)
        self._generator_after = generator_after

    def learn_task(
        self, task: dgm_tf.Task, *, callbacks: Sequence[Any] = ()
    ) -> dict[str, list[float]]:
        generator = self._generator_after(self.finished_tasks + 1)
        unused = self.new_critic(task.image_shape, len(self.classes_with(task)))
        classifier, history = self.train_classifier(generator, task, unused, callbacks)
        self._generator = generator
        self.task_learnt(task, classifier)
        return history


def retrain(
    run_dir: str, changes: Mapping[str, Any], *, images: str | None = None, data_dir: str | None
) -> list[tuple[float, float]]:
    """Returns accuracies in percent after each task, as the run had it and as it is retrained.

    They are means over classes, on the run's held-out images of all classes seen.

    Args:
        run_dir: the run's folder, with its checkpoints.
        changes: by name, of `CLASSIFIER_SETTINGS` and `CLASSIFIER_CONSTANTS`.
        images: the folder of images that it was learnt from, for a run of `split_folder`.
        data_dir: where prepared data is.

    Raises:
        InputError: a setting that generated images depend on, or the run cannot be read.
    """
    if foreign := sorted(set(changes) - CLASSIFIER_SETTINGS - CLASSIFIER_CONSTANTS):
        raise dgm_tf.InputError(f"generated images depend on {', '.join(foreign)}")
    where = {"images": images, "data_dir": data_dir}
    stream, finished = judging.restored_generator(run_dir, **where)
    folder = RunFolder(run_dir)

    def run_after(task: int) -> dgm_tf.DGM:
        _, meta, arrays = folder.state_after(task)
        return load_state(meta, arrays)

    constants = {name: changes[name] for name in CLASSIFIER_CONSTANTS & set(changes)}
    RECIPES["retrained"] = dataclasses.replace(finished.settings.details, **constants)
    own = {name: value for name, value in changes.items() if name not in constants}
    settings = dataclasses.replace(finished.settings, recipe="retrained", **own)
    learner = Retrained(settings, lambda task: run_after(task).generator)
    found = []
    for task in stream.tasks():
        if task.index > finished.finished_tasks:
            break
        learner.learn(task, verbose=0)
        held_out = stream.seen_validation(task)
        both = run_after(task.index).evaluate(held_out), learner.evaluate(held_out)
        found.append(tuple(100 * each.average_accuracy for each in both))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--change", required=True, help="NAME=VALUE,... of settings")
    parser.add_argument("--images", help="folder of the images, for a run of split_folder")
    parser.add_argument("--data_dir", help="where prepared data is")
    parser.add_argument("--threads", type=int, help="threads of TensorFlow; default: its own")
    given = parser.parse_args(arguments)
    if given.threads:
        tf.config.threading.set_intra_op_parallelism_threads(given.threads)
        tf.config.threading.set_inter_op_parallelism_threads(given.threads)
    found = retrain(
        given.run_dir, read_changes(given.change), images=given.images, data_dir=given.data_dir
    )
    lines = [[str(task), f"{a:.2f}", f"{b:.2f}"] for task, (a, b) in enumerate(found, start=1)]
    print(markdown_table(["task", "A of the run", "A retrained"], lines))


def read_changes(text: str) -> dict[str, Any]:
    """Returns settings by name, of a text such as "consolidation_steps=600,augmentation=photo"."""
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


if __name__ == "__main__":
    main()
