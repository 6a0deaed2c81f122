"""A run's numbers, pictures and masks for TensorBoard.

Each run has one folder of logs, with a file per task. Nothing is written in a training step: losses
and masks once per epoch, the rest once per task.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy
from PIL import Image

from dgm_tf.errors import InputError

FOLDER = "tensorboard"

_HISTOGRAM_VALUES = 10_000  # of each layer at least, evenly spread, or all

# Rows' quantities that are a number per task, and what they are called there.
_PER_TASK = {
    "average_accuracy": "task/A_t",
    "oracle_accuracy": "task/G_t",
    "forgetting": "task/forgetting",
    "backward_transfer": "task/backward_transfer",
    "generator_parameters": "task/generator_parameters",
    "free_fraction": "task/free_fraction",
    "seconds": "task/seconds",
    "peak_memory_mib": "task/peak_memory_mib",
}


def check_installed() -> None:
    """Looks for TensorBoard before any work.

    Raises:
        InputError: it is not installed.
    """
    try:
        import tensorboard.plugins.hparams.api  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--tensorboard needs the package tensorboard, which cannot be imported ({error}); "
            "pip install tensorboard, or leave the flag out"
        ) from error


class TensorBoardLog:
    """The log folder of one run.

    Attributes:
        folder: where it is; `tensorboard --logdir` takes it or any folder above it.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        """Names the folder; nothing is written yet.

        Args:
            folder: made where it does not exist.
            settings: for the HParams plug-in; values that are no number or text go in as text.
        """
        self.folder = Path(folder)
        self._settings = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in settings.items()
        }

    def task(self, task: int, *, steps_before: int) -> "TaskLog":
        """The log of a task about to be learnt, in place of what an attempt cut short has left.

        Args:
            task: from 1.
            steps_before: training steps of all earlier tasks.
        """
        suffix = f".task-{task:02d}"
        for stale in self.folder.glob(f"events.out.tfevents.*{suffix}"):
            stale.unlink()
        # A run may begin to log only when it goes on, after its first task.
        first = not any(self.folder.glob("events.out.tfevents.*"))
        writer = tf.summary.create_file_writer(str(self.folder), filename_suffix=suffix)
        if first:
            from tensorboard.plugins.hparams import api as hparams

            with writer.as_default():
                hparams.hparams(self._settings)
        return TaskLog(writer, steps_before)


class TaskLog(keras.callbacks.Callback):
    """Writes one task: its epochs as a callback of `fit`, and its row when it is finished."""

    # Keras then need not wait for each step's losses before it begins the next one.
    async_safe = True

    def __init__(self, writer: Any, steps_before: int) -> None:
        super().__init__()
        self._writer = writer
        self._steps = self._before = steps_before
        self._epochs = 0  # of the present phase, written so far

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._before, self._epochs = self._steps, 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._write_before(epoch)
        self._write(epoch, logs or {})
        with self._writer.as_default(step=self._steps):
            self._write_masks()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._write_before(self.params["epochs"])

    def _write_before(self, epoch: int) -> None:
        """Writes the epochs before `epoch` that an earlier process has finished."""
        history = getattr(getattr(self.model, "history", None), "history", {})
        finished = min(map(len, history.values()), default=0)
        for earlier in range(self._epochs, min(epoch, finished)):
            self._write(earlier, {name: values[earlier] for name, values in history.items()})

    def _write(self, epoch: int, logs: Mapping[str, Any]) -> None:
        phase = getattr(self.model, "phase", "") or "training"
        self._epochs = epoch + 1
        self._steps = self._before + self._epochs * self.params["steps"]
        with self._writer.as_default(step=self._steps):
            for name, value in logs.items():
                tf.summary.scalar(f"{phase}/{name}", float(value))

    def _write_masks(self) -> None:
        generator = getattr(self.model, "generator", None)
        for block in getattr(generator, "blocks", ()):
            # The mask is 1 where it is not negative, the more surely the further from 0.
            embedding = convert_to_numpy(block.embedding)
            # Counting all of a large layer would take as long as several short steps.
            some = embedding.ravel()[:: max(1, embedding.size // _HISTOGRAM_VALUES)]
            tf.summary.histogram(f"mask_embedding/{block.name}", some)
            tf.summary.scalar(f"mask_density/{block.name}", float(np.mean(embedding >= 0)))

    def finish(
        self, row: Mapping[str, Any], samples: Path | None, names: Sequence[str] = ()
    ) -> None:
        """Writes what is known once a task is finished, and closes the file.

        Args:
            row: the task's row of metrics.jsonl; its task is the step.
            samples: the picture of all classes seen, if there is one.
            names: of classes by id; empty shows ids.
        """
        with self._writer.as_default(step=row["task"]):
            for key, name in _PER_TASK.items():
                if row.get(key) is not None:
                    tf.summary.scalar(name, float(row[key]))
            for label, value in row["class_accuracy"].items():
                shown = names[int(label)] if names else label
                tf.summary.scalar(f"class_accuracy/{shown}", float(value))
            for layer in row.get("layers", ()):
                tf.summary.scalar(f"units/{layer['layer']}", float(layer["units"]))
            if row["audit"]:
                differing = sum(row["audit"].values())
                tf.summary.scalar("task/audit_differing_pixels", float(differing))
            if samples is not None and samples.is_file():
                with Image.open(samples) as picture:
                    tf.summary.image("samples", np.asarray(picture.convert("RGB"))[None])
        self._writer.close()
