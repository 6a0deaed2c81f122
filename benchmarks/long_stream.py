"""Peak memory of a run as tasks pile up: 30 tasks of one class each, made of the ten digits.

    python -m benchmarks.long_stream

The classes are the digits as they are, turned by 90 degrees, and with light and dark exchanged. A
run by the digits' preset learns them, with checkpoints, audits, pictures and pages. Its report has
the peak of the process after each task.
"""

import tempfile
from collections.abc import Sequence

import numpy as np
from absl import app, flags

import dgm_tf
from dgm_tf.data.datasets import ImageData, load_data
from dgm_tf.experiments.options import QUIET, RunOptions
from dgm_tf.experiments.run import Run
from dgm_tf.learners.dgm import DGM
from dgm_tf.methods.presets import settings_for

_TASKS = flags.DEFINE_integer("tasks", 30, "tasks to learn, up to 30")


def thirty_classes() -> ImageData:
    """The digits, the same turned, and the same inverted: labels 0 to 29."""
    digits = load_data("digits")
    ways = (lambda images: images, lambda images: np.rot90(images, axes=(1, 2)), np.invert)

    def turned(images: np.ndarray) -> np.ndarray:
        return np.concatenate([way(images) for way in ways])

    def numbered(labels: np.ndarray) -> np.ndarray:
        return np.concatenate([labels + 10 * number for number in range(len(ways))])

    return dgm_tf.from_arrays(
        turned(digits.train_images),
        numbered(digits.train_labels),
        test_images=turned(digits.test_images),
        test_labels=numbered(digits.test_labels),
    )


def main(arguments: Sequence[str]) -> None:
    """Learns the tasks; prints the run's report and how the peaks compare."""
    del arguments
    stream = dgm_tf.class_incremental(thirty_classes(), image_size=16)
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(run_dir=f"{folder}/run", oracle=False, verbosity=QUIET)
        run = Run(stream, DGM(settings_for("digits")), options, max_tasks=_TASKS.value)
        peaks = [row["peak_memory_mib"] for row in run.run()]
    if len(peaks) > 10:
        print(f"peak memory: {peaks[-1] / peaks[9]:.3f} times that at task 10")


if __name__ == "__main__":
    app.run(main)
