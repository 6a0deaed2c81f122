"""What a memory of many tasks costs: bytes, seconds and peak memory, without training one.

    python -m benchmarks.many_tasks
    python -m benchmarks.many_tasks --tasks=10,100

Makes a DGMw memory of so many tasks of one class of 32x32 images. Masks are random: each task uses
half of the weights, reserved ones and free ones alike. (On MNIST a task reserves 0.28 of what is
free, and uses 0.55 of what is reserved.) The network grows by the rule that training follows. Every
number is taken in a process of its own.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it as it is imported

import dgm_tf
from dgm_tf import randomness
from dgm_tf.evaluation import memory_audit
from dgm_tf.layers.masks import pack_bits
from dgm_tf.learners.dgm import TaskMemory
from dgm_tf.networks import Critic, Generator, growth
from dgm_tf.networks.generator_state import generator_arrays
from dgm_tf.networks.state import network_arrays

_TASKS = flags.DEFINE_list("tasks", ["10", "100", "1000"], "numbers of tasks")
_FOLDER = flags.DEFINE_string("folder", None, "where the memories are written; a temporary one")
_MOST_EXPORTED = flags.DEFINE_integer("most_exported", 1000, "no export of more tasks")
_PART = flags.DEFINE_string("part", None, "one part of the work, for this program's processes")

_SHAPE = (32, 32, 1)
_IMAGES = 16
_SAMPLE = 100  # of more tasks, audit and filling take so many, and say what all would take


def simulated(tasks: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The state of a learner after tasks with random masks."""
    random = np.random.default_rng(0)
    settings = dgm_tf.DGM().settings
    g = settings.generator_size
    first = widths = (4 * g, 2 * g, g)
    model = Generator(_SHAPE, first, latent_dim=settings.latent_dim, name="generator")
    model.build()
    taps = [block.kernel_size**2 for block in model.blocks]
    reserved = [np.zeros(block.kernel.shape, bool) for block in model.blocks]
    rows, arrays = [], {}
    for task in range(1, tasks + 1):
        name = f"finished/{task:05d}"
        rows.append(widths)
        arrays[f"{name}/head"] = _normals(random, 4, 4, _SHAPE[-1], widths[-1])
        for block, union in zip(model.blocks, reserved, strict=True):
            bits = np.frombuffer(random.bytes(-(-union.size // 8)), np.uint8)
            mask = np.unpackbits(bits, count=union.size).view(bool).reshape(union.shape)
            new = np.count_nonzero(mask & ~union)
            union |= mask
            arrays[f"{name}/{block.name}/mask"] = pack_bits(mask)
            arrays[f"{name}/{block.name}/affine"] = _normals(random, 2, union.shape[2])
            arrays[f"{name}/{block.name}/kernel"] = _normals(random, new)
        widths = _grown(reserved, first, taps, settings.latent_dim)
        inputs = (settings.latent_dim, *widths)
        reserved = [_widened(*each) for each in zip(reserved, widths, inputs, strict=False)]
    config = {
        **model.get_config(),
        "widths": widths,
        "initial_widths": first,
        "finished": [1] * tasks,
        "finished_widths": rows,
    }
    live = Generator.from_config({**config, "finished": [], "finished_widths": []})
    live.build()
    arrays |= {path: array for path, array in generator_arrays(live).items() if "head" not in path}
    for block, union in zip(live.blocks, reserved, strict=True):
        arrays[block.kernel.path] = _normals(random, np.count_nonzero(~union))
    arrays[f"generator/head_{tasks + 1}/kernel"] = _normals(random, 4, 4, _SHAPE[-1], widths[-1])
    critic = Critic(_SHAPE, tasks, size=settings.critic_size, name="critic")
    critic.build()
    meta = {
        "method": "dgm",
        "settings": settings.as_json(),
        "tasks": [[label] for label in range(tasks)],
        "class_names": [f"class {label}" for label in range(tasks)],
        "critic": critic.get_config(),
        "generator": config,
        "audit": [],
    }
    return meta, arrays | network_arrays(critic)


def _normals(random: np.random.Generator, *shape: int) -> np.ndarray:
    return 0.02 * random.standard_normal(shape, np.float32)


def _widened(array: np.ndarray, units: int, inputs: int) -> np.ndarray:
    wider = np.zeros((*array.shape[:2], units, inputs), array.dtype)
    wider[:, :, : array.shape[2], : array.shape[3]] = array
    return wider


def _grown(
    reserved: list[np.ndarray], first: tuple[int, ...], taps: list[int], latent_dim: int
) -> tuple[int, ...]:
    """The widths after a task, as `Generator.grown_widths` finds them."""
    widths: list[int] = []
    for layer, union in enumerate(reserved):
        inputs = (latent_dim, *first)[layer]
        widths.append(
            growth.widened_by_weights(
                units=union.shape[2],
                taps=taps[layer],
                reserved=np.count_nonzero(union),
                initial_free=inputs * first[layer] * taps[layer],
                new_inputs=widths[-1] if widths else latent_dim,
            )
        )
    return tuple(widths)


# The parts, each in a process of its own.


def make(folder: Path) -> dict[str, Any]:
    learner = dgm_tf.DGM()
    learner.load(*simulated(int(folder.name.partition("-")[0])))
    learner.save(folder)
    sizes = learner.growth()
    return {"widths": sizes["layer_widths"], "weights": sizes["generator_parameters"]}


def use(folder: Path) -> dict[str, Any]:
    """Seconds of all that is done with a memory but exporting it."""
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(name: str, times: float = 1.0) -> Iterator[None]:
        start = time.monotonic()
        yield
        seconds[name] = round((time.monotonic() - start) * times, 3)
        print(f"    {name}: {seconds[name]} s", file=sys.stderr, flush=True)

    with timed("load"):
        learner = dgm_tf.load(folder)
    memory = TaskMemory(learner.generator)
    classes = learner.classes_seen
    noise = randomness.normal([64, memory.latent_dim], randomness.pair(0, "noise"))
    learner.generate([classes[1]] * _IMAGES)  # traces
    with timed("generate 16 of the first class"):
        learner.generate([classes[0]] * _IMAGES)
    with timed("generate 16 of the last class"):
        learner.generate([classes[-1]] * _IMAGES)
    with timed("classify 16"):
        learner.classify(np.zeros((_IMAGES, *_SHAPE), np.uint8))
    with timed("save"):
        learner.save(folder.with_name(f"{folder.name}-again"))
    memory.recall(1, noise)  # traces
    some = sampled(range(memory.classes), 8)
    with timed("renew replay, once in 8 steps", 1 / len(some)):
        for position in some:
            memory.recall(position, noise)
    some = sampled(range(memory.classes), _SAMPLE)
    with timed("fill the replay buffer", memory.classes / len(some)):
        for position in some:
            memory.recall(position, noise[: max(2048 // memory.classes, 32)])
    some = sampled(learner.task_classes, _SAMPLE)
    with timed("audit", len(learner.task_classes) / len(some)):
        for each in some:  # what `DGM.audit` takes the digests of
            memory_audit.recorded(each, learner.generate)
    return seconds


def export(folder: Path) -> dict[str, Any]:
    learner = dgm_tf.load(folder)
    start = time.monotonic()
    learner.export(folder.with_name(f"{folder.name}-export"), classifier=True)
    return {"export": round(time.monotonic() - start, 3)}


def sampled(items: Sequence[Any], count: int) -> list[Any]:
    """At most so many of them, evenly spaced."""
    places = np.linspace(0, len(items) - 1, min(len(items), count)).astype(int)
    return [items[place] for place in places]


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {"make": make, "use": use, "export": export}


def measured(part: str, folder: Path) -> dict[str, Any]:
    """What a part says in a process of its own, and that process's peak memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.many_tasks", f"--folder={folder}"]
    done = subprocess.run(
        [*command, f"--part={part}"], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(_: list[str]) -> None:
    if _PART.value:
        found = PARTS[_PART.value](Path(_FOLDER.value))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**found, "peak_mib": round(peak)}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(_FOLDER.value or temporary)
        place.mkdir(parents=True, exist_ok=True)
        for tasks in map(int, _TASKS.value):
            folder = place / f"{tasks}-tasks"
            print(f"{tasks} tasks", flush=True)
            for part in PARTS:
                if part == "make" and folder.exists():
                    continue
                if part == "export" and tasks > _MOST_EXPORTED.value:
                    continue
                print(f"  {part}: {json.dumps(measured(part, folder))}", flush=True)
            for name in (folder.name, f"{folder.name}-export"):
                print(f"  {name}: {bytes_in(place / name) / 2**20:.2f} MiB on disk", flush=True)


if __name__ == "__main__":
    app.run(main)
