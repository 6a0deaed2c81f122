"""What XLA makes of a training step on an accelerator, what compiling costs, and exact memory.

    python -m benchmarks.accelerator

Takes steps of DGM's second task on random images of SVHN's shape, by the preset and by the paper's
settings, each in a process of its own: plain, compiled by XLA, and compiled a second time, which
TensorFlow's compile cache answers. Then a memory learns three tasks through XLA, another process
audits it, and a third one learns the same again: are its images the same? Under 12 minutes on one
GPU. On a processor XLA is slow, and the numbers say only that all of it runs.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it as it is imported

import tensorflow as tf

import dgm_tf

_STEPS = flags.DEFINE_integer("steps", 40, "steps in a turn, a multiple of 8")
_ROUNDS = flags.DEFINE_integer("rounds", 8, "turns")
_SIZE = flags.DEFINE_integer("generator_size", None, "g (default: the preset's)")
_CHILD = flags.DEFINE_enum("child", None, ["plain", "xla", "learn", "audit", "again"], "for itself")
_MEMORY = flags.DEFINE_string("memory", None, "for itself")

# Kernels are launched as CUDA graphs, however few they are.
_XLA_FLAGS = "--xla_gpu_graph_min_graph_size=1"
_DATASET, _TASKS = "svhn_cropped", 3


def main(arguments: Sequence[str]) -> None:
    """Measures and prints, or does one part of it."""
    del arguments
    tf.get_logger().setLevel("ERROR")
    if _CHILD.value in ("plain", "xla"):
        for preset in ("tuned", "paper"):
            print(f"{_CHILD.value:6s}{preset:7s}{_step(preset, compiled=_CHILD.value == 'xla')}")
    elif _CHILD.value:
        _remember(_CHILD.value, Path(_MEMORY.value))
    else:
        _measure()


def _measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={folder}/compiled",
        }
        if tf.config.list_physical_devices("GPU"):
            environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_XLA_FLAGS}".strip()
        for child, title in (
            ("plain", "a step, plain"),
            ("xla", "compiled by XLA"),
            ("xla", "compiled before, by another process"),
            ("learn", "three tasks through XLA"),
            ("audit", "audited by another process"),
            ("again", "learnt again by a third"),
        ):
            print(f"{title}:", flush=True)
            command = [sys.executable, "-m", "benchmarks.accelerator", *sys.argv[1:]]
            subprocess.run(
                [*command, f"--child={child}", f"--memory={folder}/memory"],
                env=environment,
                check=True,
            )


def _step(preset: str, *, compiled: bool) -> str:
    """One row: seconds of the first step, milliseconds of the others, nodes of the graph."""
    learner = _learner(preset=preset)
    tasks = iter(_stream(learner.settings.batch_size))
    learner.learn(next(tasks), verbose=0)
    learner.settings = _settings(preset=preset, jit_compile=compiled)
    task = next(tasks)
    phase = learner.adversarial_phase(task, **learner.budget(task))
    steps = 1 + 2 * _STEPS.value * _ROUNDS.value
    passes = -(-steps // task.steps_per_epoch(learner.settings.batch_size))
    batches = iter(task.batches(learner.settings.batch_size, epochs=passes, seed=0))
    one_step = phase.step_function()

    def turn(count: int, *, replay: bool) -> float:
        start = time.perf_counter()
        for _ in range(count):
            if replay:
                phase.before_step(phase.done)
            logs = one_step(batches)
            phase.done += 1
        float(logs["critic_loss"])
        return (time.perf_counter() - start) / count

    first = turn(1, replay=True)
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(_ROUNDS.value):
        for replay, found in times.items():
            found.append(1e3 * turn(_STEPS.value, replay=replay))
    nodes = len(one_step.get_concrete_function(batches).graph.as_graph_def().node)
    whole, bare = (statistics.median(found) for found in times.values())
    return (
        f"first step {first:6.1f} s, then {whole:6.2f} ms, {bare:6.2f} without renewing replay; "
        f"{nodes} nodes outside XLA"
    )


def _remember(child: str, memory: Path) -> None:
    earlier = None if child == "learn" else dgm_tf.load(memory)
    if child == "audit":
        print(f"      identical: {earlier.audit()}")
        return
    learner, seconds = _learner(jit_compile=True), []
    for task in _stream(learner.settings.batch_size):
        start = time.perf_counter()
        learner.learn(task, verbose=0)
        seconds.append(f"{time.perf_counter() - start:.1f}")
    print(f"      seconds of each task: {', '.join(seconds)}; identical: {learner.audit()}")
    if earlier is None:
        learner.save(memory)
        return
    labels = np.repeat(np.arange(_TASKS), 8)
    same = np.array_equal(learner.generate(labels), earlier.generate(labels))
    print(f"      the same images as in the first process: {same}")


def _settings(*, preset: str = "tuned", jit_compile: bool = False) -> Any:
    changes: dict[str, Any] = {"epochs": 2, "jit_compile": jit_compile}
    changes["consolidation_steps"] = 8 if preset == "tuned" else 0
    if _SIZE.value is not None:
        changes["generator_size"] = _SIZE.value
    return dgm_tf.settings_for(_DATASET, variant="w", preset=preset, **changes)


def _learner(**changes: Any) -> Any:
    return dgm_tf.DGM(_settings(**changes))


def _stream(batch_size: int) -> Any:
    images = np.random.default_rng(0).integers(
        0, 256, [_TASKS * 8 * batch_size, 32, 32, 3], np.uint8
    )
    labels = np.repeat(np.arange(_TASKS), 8 * batch_size)
    held_out = (images[:: 8 * batch_size], labels[:: 8 * batch_size])
    return dgm_tf.class_incremental((images, labels, *held_out), validation_fraction=0.0)


if __name__ == "__main__":
    app.run(main)
