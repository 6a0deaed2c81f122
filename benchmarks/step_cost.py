"""What a training step costs as tasks pile up, and how much of the machine it uses.

    python -m benchmarks.step_cost
    python -m benchmarks.step_cost --variant=a --replay=full
    python -m benchmarks.step_cost --dataset=digits

Learns ten tasks of one class each, keeps the training phases of tasks 1, 2 and 10, and times their
steps in turn, so that a machine whose speed drifts slows all of them alike. Short tasks on random
images reserve about half of the weights each. A data set is learnt with its preset's epochs, so
that the generator grows as it does for users. Compare the ratios; the milliseconds are this
machine's.
"""

import dataclasses
import itertools
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it as it is imported

import tensorflow as tf

from dgm_tf.data.stream import TaskStream, class_incremental
from dgm_tf.learners.adversarial import AdversarialPhase
from dgm_tf.learners.classifier_learner import position_table
from dgm_tf.learners.dgm import DGM
from dgm_tf.methods.presets import PRESETS, settings_for
from dgm_tf.methods.settings import DGMSettings

_DATASET = flags.DEFINE_string("dataset", None, "data set (default: short tasks, random images)")
_VARIANT = flags.DEFINE_enum("variant", "w", ["w", "a"], "masks on weights or units")
_REPLAY = flags.DEFINE_enum("replay", "balanced", ["balanced", "full"], "replay mode")
_PRESET = flags.DEFINE_enum("preset", "tuned", PRESETS, "settings")
_CHANNELS = flags.DEFINE_integer("channels", 1, "image channels")
_SIZE = flags.DEFINE_integer(
    "generator_size", None, "g: the generator starts with 4g, 2g, g units (default: the preset's)"
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "times that each phase is measured")
_STEPS = flags.DEFINE_integer("steps", 24, "steps per measurement, a multiple of 8")
_MEASURED = (1, 2, 10)


@dataclasses.dataclass
class Measured:
    """One task's training step, ready to be timed."""

    task: int
    step: Callable[[], Any]
    without_replay: Callable[[], Any]
    widths: tuple[int, ...]
    gigaflop: float
    peak_mib: float
    traces: Callable[[], int]
    milliseconds: list[float] = dataclasses.field(default_factory=list)
    bare_milliseconds: list[float] = dataclasses.field(default_factory=list)


def main(arguments: Sequence[str]) -> None:
    """Measures and prints a table."""
    del arguments
    tf.get_logger().setLevel("ERROR")  # the profiler warns of its age
    settings, stream = _stream_with_settings()
    learner = DGM(settings)
    phases = []
    for task in stream:
        if task.index in _MEASURED:
            phases.append(_measured(learner, task))
        if task.index < max(_MEASURED):
            learner.learn(task, verbose=0)
    for _ in range(_ROUNDS.value):
        for phase in phases:
            phase.milliseconds.append(_time(phase.step))
            phase.bare_milliseconds.append(_time(phase.without_replay))
    _report(phases, settings.batch_size, learner.image_shape)


def _stream_with_settings() -> tuple[DGMSettings, TaskStream]:
    overrides = {"replay": _REPLAY.value, "consolidation_steps": 1}  # no image depends on it
    if _SIZE.value is not None:
        overrides["generator_size"] = _SIZE.value
    options = {"variant": _VARIANT.value, "preset": _PRESET.value}
    if _DATASET.value is not None:
        settings = settings_for(_DATASET.value, **options, **overrides)
        return settings, class_incremental(_DATASET.value)
    settings = settings_for("mnist", **options, epochs=2, **overrides)
    images = np.random.default_rng(0).integers(
        0, 256, [10 * 4 * settings.batch_size, 32, 32, _CHANNELS.value], np.uint8
    )
    labels = np.arange(len(images)) % 10
    data = (images, labels, images[:10], labels[:10])
    return settings, class_incremental(data, validation_fraction=0.0)


def _measured(learner: DGM, task: Any) -> Measured:
    batch = next(iter(task.batches(learner.settings.batch_size, epochs=1, seed=0)))
    batch = tuple(tf.identity(part) for part in batch)
    _reset_peak()
    full = learner.adversarial_phase(task, **learner.budget(task))
    step = _traced(full)
    flop = _flop(step.get_concrete_function(batch))
    for _ in range(3):
        step(batch)
    peak = _peak_mib()
    without = AdversarialPhase(
        full.generator,
        learner.new_critic(task.image_shape, full.critic.classes),
        learner.settings,
        positions=position_table(learner.classes_with(task)),
        replay=None,
        steps_per_epoch=task.steps_per_epoch(learner.settings.batch_size),
        epochs=2,
        seed=tf.constant([0, 0]),
    )
    bare = _traced(without)
    bare(batch)
    return Measured(
        task.index,
        lambda: step(batch),
        lambda: bare(batch),
        full.generator.widths,
        flop / 1e9,
        peak,
        step.experimental_get_tracing_count,
    )


def _traced(phase: AdversarialPhase) -> Any:
    def step(batch: Any) -> dict[str, tf.Tensor]:
        phase.means.update_state(phase.train_step(batch))
        phase.step.assign_add(1)
        return phase.logs()

    return tf.function(step, autograph=False)


def _flop(function: Any) -> float:
    """Floating-point operations of the convolutions and matrix products in a graph."""
    profile = tf.compat.v1.profiler
    options = profile.ProfileOptionBuilder(profile.ProfileOptionBuilder.float_operation())
    graph = function.graph
    counted = profile.profile(graph, options=options.with_empty_output().build())
    return counted.total_float_ops


def _time(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    for _ in range(_STEPS.value):
        result = step()
    tf.nest.map_structure(lambda value: value.numpy(), result)
    return (time.perf_counter() - start) / _STEPS.value * 1e3


def _matrix_rate() -> float:
    """GFLOP/s of a float32 matrix product of 2048 x 2048, the best of several."""
    matrix = tf.random.stateless_normal([2048, 2048], [0, 0])
    product = tf.function(lambda: tf.linalg.matmul(matrix, matrix))
    product()
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        product().numpy()
        rates.append(2 * 2048**3 / 1e9 / (time.perf_counter() - start))
    return max(rates)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # Not Linux: the peak then is that of the whole process.


def _peak_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _report(phases: Sequence[Measured], batch_size: int, image_shape: tuple[int, int, int]) -> None:
    rate = _matrix_rate()
    print(
        f"{_DATASET.value or 'random images'}, variant {_VARIANT.value}, {_REPLAY.value} replay, "
        f"preset {_PRESET.value}, {'x'.join(map(str, image_shape))}, batch {batch_size}; median "
        f"of {_ROUNDS.value} x {_STEPS.value} steps; float32 matrix rate {rate:.0f} GFLOP/s"
    )
    print(
        "task  generator        ms/step  images/s  replay  GFLOP  of matrix rate  peak MiB  traces"
    )
    for phase in phases:
        step = statistics.median(phase.milliseconds)
        bare = statistics.median(
            1 - without / with_replay
            for with_replay, without in zip(
                phase.milliseconds, phase.bare_milliseconds, strict=True
            )
        )
        share = f"{100 * max(bare, 0):.0f} %" if phase.task > 1 else "none"
        print(
            f"{phase.task:4d}  {', '.join(map(str, phase.widths)):15s}  {step:7.1f}  "
            f"{1e3 * batch_size / step:8.0f}  {share:>6s}  {phase.gigaflop:5.2f}  "
            f"{100 * phase.gigaflop / step * 1e3 / rate:12.0f} %  {phase.peak_mib:8.0f}  "
            f"{phase.traces():6d}"
        )
    _, second, last = phases
    ratios = [a / b for a, b in zip(last.milliseconds, second.milliseconds, strict=True)]
    print(
        f"task 10 / task 2: {statistics.median(ratios):.2f} times the time "
        f"({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{last.peak_mib - second.peak_mib:+.0f} MiB at the peak"
    )
    if any(count != 1 for count in itertools.chain(phase.traces() for phase in phases)):
        sys.exit("a training step was traced more than once")


if __name__ == "__main__":
    app.run(main)
