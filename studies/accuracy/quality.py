"""Judges the generated images of a run class by class, next to training images.

    python -m studies.accuracy.quality --run_dir=runs/w

It reads real images of finished tasks, which no method may learn from.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from dgm_tf import randomness
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.evaluation.quality import frechet_distance, precision_recall
from dgm_tf.experiments import judge as judging
from dgm_tf.reporting.tables import markdown_table


def quality(oracle: Oracle, label: int, real: np.ndarray, generated: np.ndarray) -> list[float]:
    """Returns what an oracle makes of one class, in its features and on as many images of each.

    Args:
        oracle: of the data set.
        label: the class's id.
        real: its training images, float32 [M, S, S, C] in [-1, 1].
        generated: float32 [N, S, S, C].

    Returns:
        The percentage that it recognises, the Frechet distance, precision and recall in percent.
    """
    recognised = np.mean(oracle.classify(generated) == label)
    compared = min(len(real), len(generated))
    features = oracle.features(real[:compared]), oracle.features(generated[:compared])
    precision, recall = precision_recall(*features)
    return [100 * recognised, frechet_distance(*features), 100 * precision, 100 * recall]


def table(run_dir: str, *, images: str | None, data_dir: str | None, count: int) -> str:
    """Returns a line for each class of a run's generator as Markdown.

    Args:
        run_dir: the run's folder, with its checkpoints.
        images: the folder of images that it was learnt from, for a run of `split_folder`.
        data_dir: where prepared data is.
        count: generated images of each class, and real ones at most; 4 at least.
    """
    stream, learner = judging.restored_generator(run_dir, images=images, data_dir=data_dir)
    oracle = Oracle.of(stream)
    parts = list(judging.real_batches(stream, learner))
    real, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    key = randomness.derive(0, "dissection images")
    lines = []
    for label in learner.classes_seen:
        generated = learner.generate(np.full(count, label, np.int32), seed=key)
        found = quality(oracle, label, real[labels == label][:count], generated)
        lines.append([str(label), *(f"{value:.2f}" for value in found)])
    header = ["class", "recognised", "Frechet distance", "precision", "recall"]
    return markdown_table(header, lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--images", help="folder of the images, for a run of split_folder")
    parser.add_argument("--data_dir", help="where prepared data is")
    parser.add_argument("--images_per_class", type=int, default=2000)
    given = parser.parse_args(arguments)
    print(
        table(
            given.run_dir,
            images=given.images,
            data_dir=given.data_dir,
            count=given.images_per_class,
        )
    )


if __name__ == "__main__":
    main()
