"""What it costs to divide a training step, and what XLA makes of one.

    python -m benchmarks.distribution
    python -m benchmarks.distribution --dataset=svhn_cropped --preset=paper

Takes steps of DGM's second task on random images (costs do not depend on what is in them): on one
device, on the processor divided into two devices, in two processes; and on one device through XLA.
Each way takes turns with the plain one, and a ratio is the median of the ratios within a turn. Two
replicas share the processor's cores with each other: they cannot be faster here. What shows is what
dividing costs. On accelerators the same command measures what it brings.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it as it is imported

import tensorflow as tf

from benchmarks.local_cluster import tf_configs
from dgm_tf.data.stream import class_incremental
from dgm_tf.devices import distribution
from dgm_tf.learners.dgm import DGM
from dgm_tf.methods.presets import settings_for
from dgm_tf.methods.settings import DGMSettings

_CHANNELS = {"mnist": 1, "fashion_mnist": 1, "svhn_cropped": 3, "cifar10": 3}

_VARIANT = flags.DEFINE_enum("variant", "w", ["w", "a"], "masks on weights or units")
_DATASET = flags.DEFINE_enum("dataset", "mnist", [*_CHANNELS], "whose settings and channels")
_PRESET = flags.DEFINE_enum("preset", "tuned", ["tuned", "paper"], "settings")
_BATCH = flags.DEFINE_integer(
    "batch_size", None, "images in a step, of all replicas together (default: the preset's)"
)
_SIZE = flags.DEFINE_integer(
    "generator_size", None, "g: the generator starts with 4g, 2g, g units (default: the preset's)"
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "turns")
_STEPS = flags.DEFINE_integer("steps", 16, "steps in a turn")
_XLA = flags.DEFINE_boolean("xla", True, "compile a step with XLA, too, which takes minutes")
_CHILD = flags.DEFINE_enum("child", None, ["mirrored", "multiworker", "xla"], "for itself")
_PASSED_ON = ("variant", "dataset", "preset", "batch_size", "generator_size", "rounds")


def main(arguments: Sequence[str]) -> None:
    """Measures and prints a table, or one row of it."""
    del arguments
    tf.get_logger().setLevel("ERROR")  # a strategy tells of every reduction that it makes
    if _CHILD.value:
        _measure(_CHILD.value)
        return
    settings = _settings()
    print(
        f"DGM{_VARIANT.value}, {_DATASET.value}, preset {_PRESET.value}, "
        f"g {settings.generator_size}, batch {settings.batch_size}, {_ROUNDS.value} turns of "
        f"{_STEPS.value} steps"
    )
    print("                     ms/step    one device  ratio")
    ways = {
        "two devices": [("mirrored", {})],
        "two processes": [("multiworker", {"TF_CONFIG": text}) for text in tf_configs(2)],
    }
    if _XLA.value:
        ways["XLA"] = [("xla", {})]
    for name, environments in ways.items():
        other, plain = _turns(environments)
        ratios = [a / b for a, b in zip(other, plain, strict=True)]
        print(
            f"{name:18s}  {statistics.median(other):8.1f}  {statistics.median(plain):12.1f}  "
            f"{statistics.median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def _turns(environments: Sequence[tuple[str, dict[str, str]]]) -> list[list[float]]:
    """Milliseconds of each turn, of the measured way and of the plain one."""
    given = {name: flags.FLAGS[name].value for name in _PASSED_ON}
    own = [f"--{name}={value}" for name, value in given.items() if value is not None]
    own.append(f"--steps={_STEPS.value}")
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.distribution", *own, f"--child={child}"],
            env={**os.environ, **extra}, stdout=subprocess.PIPE, text=True,
        )
        for child, extra in environments
    ]  # fmt: skip
    outputs = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        sys.exit("a measurement failed; what it said is above")
    return json.loads(outputs[0].splitlines()[-1])


def _measure(child: str) -> None:
    """Prints the milliseconds of each turn, of the measured way and of the plain one, as JSON."""
    one = distribution.start()
    two = one
    if child != "xla":
        two = distribution.start(child, replicas=2 if child == "mirrored" else None)
    plain = _Steps(one, {}) if two.is_chief else None
    other = _Steps(two, {"jit_compile": True} if child == "xla" else {})
    turns: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS.value):
        turns[0].append(other.milliseconds())
        if plain is not None:
            turns[1].append(plain.milliseconds())
        two.from_chief(b"your turn")  # The other process waits: it would take half the cores.
    if two.is_chief:
        print(json.dumps(turns))


def _settings(**options: Any) -> DGMSettings:
    asked = {"batch_size": _BATCH.value, "generator_size": _SIZE.value}
    asked = {name: value for name, value in asked.items() if value is not None}
    return settings_for(
        _DATASET.value, variant=_VARIANT.value, preset=_PRESET.value, epochs=2,
        consolidation_steps=1, **asked, **options,
    )  # fmt: skip


class _Steps:
    """Training steps on some devices."""

    def __init__(self, place: distribution.Distribution, options: dict[str, Any]):
        settings = _settings(**options)
        shape = [10 * 4 * settings.batch_size, 32, 32, _CHANNELS[_DATASET.value]]
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        labels = np.arange(len(images)) % 10
        tasks = class_incremental(
            (images, labels, images[:10], labels[:10]), validation_fraction=0.0
        ).tasks()
        self._place = place
        with distribution.used(place):
            learner = DGM(settings)
            learner.learn(next(tasks), verbose=0)
            task = next(tasks)
            steps = task.steps_per_epoch(settings.batch_size)
            phase = learner.adversarial_phase(task, epochs=10_000, steps_per_epoch=steps)
            self._step = phase.step_function()
            self._batches = iter(task.batches(settings.batch_size, epochs=10_000, seed=0))
            self._task = task  # which closes when it goes
        self._tasks = tasks
        self.milliseconds()

    def milliseconds(self) -> float:
        """Of one step, the mean of a turn's."""
        with distribution.used(self._place):
            start = time.perf_counter()
            for _ in range(_STEPS.value):
                logs = self._step(self._batches)
            float(logs["critic_loss"])
            return 1e3 * (time.perf_counter() - start) / _STEPS.value


if __name__ == "__main__":
    app.run(main)
