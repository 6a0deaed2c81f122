"""What an exported memory costs to ask, and how that changes as tasks pile up.

    python -m benchmarks.serving --memory=runs/demo
    python -m benchmarks.serving
    python -m benchmarks.serving --server

Exports a run's memory as it was after 2 and after 10 tasks of one class and times mixed batches of
labels of all their tasks, and batches of one of the ten tasks, a different one in each turn. The
three take turns call by call, so that a machine whose speed drifts slows all alike; a ratio is the
median of the ratios within a turn. Without a run the weights are random, and the tasks reserve more
than they do of real images. `--server` asks through MLServer on the loopback, over gRPC, too, and
then by several clients at a time, whose requests are merged or not. Compare the ratios; the
milliseconds are this machine's.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it as it is imported

import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.experiments.export import export_run
from dgm_tf.learners.dgm import TaskMemory
from dgm_tf.networks import Generator
from dgm_tf.serving import export

_MEMORY = flags.DEFINE_string(
    "memory", None, "folder of a run that has learnt classes 0 to 9 in turn"
)
_VARIANT = flags.DEFINE_enum("variant", "w", ["w", "a"], "masks on weights or units")
_SIZE = flags.DEFINE_integer("generator_size", 20, "g: the generator starts with 4g, 2g, g units")
_CHANNELS = flags.DEFINE_integer("channels", 1, "image channels")
_CALLS = flags.DEFINE_integer("calls", 100, "calls that are timed for each figure")
_SERVER = flags.DEFINE_boolean("server", False, "ask through MLServer, too")
_TASKS = (2, 10)
_BATCHES = (1, 16, 64, 256)
_MIXED, _OF_ONE = "mixed", "one task"
_CASES = ((2, _MIXED), (10, _MIXED), (10, _OF_ONE))
_WARM = 5
_CLIENTS = 8
_TURNS = 5
_V2 = {"int32": "INT32", "int64": "INT64"}


class RandomMemory:
    """What an exporter sees of a learner: a generator that has finished tasks of one class each.

    About half of the weights (units) of each task's size are in its masks, as training leaves them.
    """

    name = "random"

    def __init__(self, tasks: int):
        self.classes_seen = tuple(range(tasks))
        self.class_names = tuple(map(str, self.classes_seen))
        self.task_classes = tuple((label,) for label in self.classes_seen)
        random = np.random.default_rng(0)
        size = _SIZE.value
        shape = (32, 32, _CHANNELS.value)
        generator = Generator(shape, (4 * size, 2 * size, size), variant=_VARIANT.value)
        generator.build()
        for _ in range(tasks):
            for embedding in generator.embeddings():
                embedding.assign(random.normal(size=embedding.shape))
            generator = generator.finish_task(1)
            generator = generator.widen(generator.grown_widths())
        self.generator = generator

    def generate(self, labels: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Images of one class, as the export's own audit asks for them."""
        shape = [len(labels), self.generator.latent_dim]
        noise = randomness.normal(shape, randomness.pair(seed, "generate"))
        return np.asarray(TaskMemory(self.generator, exact=True).recall(int(labels[0]), noise))


Ask = Callable[[np.ndarray, int], Any]  # of labels and a key


def main(arguments: Sequence[str]) -> None:
    """Measures and prints tables."""
    del arguments
    logging.set_verbosity(logging.ERROR)  # saving tells its steps
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for tasks in _TASKS:
            place = Path(folder) / f"tasks{tasks}"
            if _MEMORY.value:
                done = export_run(_MEMORY.value, task=tasks, export_dir=place)
            else:
                done = export.export(RandomMemory(tasks), place)
            paths[tasks] = done.path
            print(f"{tasks} tasks: {done.bytes / 2**20:.2f} MiB on disk")
        _report("in process", {tasks: _in_process(tasks, path) for tasks, path in paths.items()})
        if _SERVER.value:
            with _mlserver(Path(folder)) as asks:
                _report("MLServer, gRPC", {tasks: asks[f"tasks{tasks}"] for tasks in _TASKS})
                _report_clients({name: asks[name] for name in ("tasks10", "merging")})


def _in_process(tasks: int, path: Path) -> Ask:
    start = time.perf_counter()
    model = tf.saved_model.load(str(path))
    generate = model.signatures["generate"]
    loaded = time.perf_counter()

    def ask(labels: np.ndarray, key: int) -> Any:
        # The model is named here to keep it alive.
        assert model
        inputs = {name: tf.constant(value) for name, value in _inputs(labels, key).items()}
        return generate(**inputs)["images"].numpy()

    ask(np.zeros(1, np.int32), 0)
    took = loaded - start, time.perf_counter() - loaded
    print("{} tasks: loaded in {:.2f} s, first call {:.2f} s".format(tasks, *took))
    return ask


def _inputs(labels: np.ndarray, key: int) -> dict[str, np.ndarray]:
    rows = np.arange(len(labels), dtype=np.int64)
    return {"labels": labels, "keys": np.full(len(labels), key, np.int64), "rows": rows}


def _report(where: str, asks: dict[int, Ask]) -> None:
    memory = _MEMORY.value or f"random, variant {_VARIANT.value}, 32x32x{_CHANNELS.value}"
    print(f"\n{where}; {memory}, {_CALLS.value} calls each")
    print("batch  tasks  labels    median ms   99th percentile ms   images/s")
    for batch in _BATCHES:
        milliseconds = _timed(asks, batch)
        for (tasks, labels), values in milliseconds.items():
            median = np.median(values)
            print(
                f"{batch:5d}  {tasks:5d}  {labels:8s}  {median:9.2f}  "
                f"{np.percentile(values, 99):19.2f}  {1e3 * batch / median:9.0f}"
            )
        few, many, one = (milliseconds[case] for case in _CASES)
        print(f"       10 tasks / 2 tasks: {np.median(many / few):.2f} times the latency")
        print(f"       mixed / one task:   {np.median(many / one):.2f} times the latency")


def _timed(asks: dict[int, Ask], batch: int) -> dict[tuple[int, str], np.ndarray]:
    """Milliseconds of each call, by case; the cases take turns."""
    milliseconds: dict[tuple[int, str], list[float]] = {case: [] for case in _CASES}
    for call in range(_WARM + _CALLS.value):
        for (tasks, kind), taken in milliseconds.items():
            row = np.arange(batch) if kind == _MIXED else np.zeros(batch, int)
            labels = ((call + row) % tasks).astype(np.int32)
            start = time.perf_counter()
            asks[tasks](labels, call)
            if call >= _WARM:
                taken.append((time.perf_counter() - start) * 1e3)
    return {case: np.array(taken) for case, taken in milliseconds.items()}


def _report_clients(asks: dict[str, Ask]) -> None:
    """Answers a second to clients that ask for one image at a time, all of one class."""
    print(f"\n{_CLIENTS} clients at a time, one image each, {_CALLS.value} requests each")
    seconds: dict[str, list[float]] = {name: [] for name in asks}
    for turn in range(_TURNS):
        for name, ask in asks.items():
            start = time.perf_counter()
            clients = [threading.Thread(target=_ask_on, args=(ask, turn)) for _ in range(_CLIENTS)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            seconds[name].append(time.perf_counter() - start)
    alone, merged = (np.array(seconds[name]) for name in asks)
    for what, taken in ("each alone", alone), ("merged", merged):
        print(f"{what:12s} {_CLIENTS * _CALLS.value / np.median(taken):7.0f} images/s")
    print(f"merged / each alone: {np.median(alone / merged):.2f} times the images")


def _ask_on(ask: Ask, key: int) -> None:
    for _ in range(_CALLS.value):
        ask(np.zeros(1, np.int32), key)


@contextlib.contextmanager
def _mlserver(folder: Path) -> Iterator[dict[str, Ask]]:
    """The memories served by one MLServer, that of ten tasks with and without merging, too."""
    try:
        import grpc
        from mlserver.grpc import dataplane_pb2 as messages
        from mlserver.grpc import dataplane_pb2_grpc as services
    except ImportError:
        sys.exit("--server needs MLServer: pip install -r requirements-serving.txt")
    ports = [_free_port() for _ in range(3)]
    settings = dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    settings |= {"host": "127.0.0.1", "parallel_workers": 0}
    (folder / "models").mkdir()
    (folder / "models" / "settings.json").write_text(json.dumps(settings))
    merging = {"max_batch_size": _CLIENTS, "max_batch_time": 0.002}
    models = {f"tasks{tasks}": (f"tasks{tasks}", {}) for tasks in _TASKS}
    models["merging"] = ("tasks10", merging)
    for name, (memory, options) in models.items():
        model = {
            "name": name,
            "implementation": "dgm_tf.serving.mlserver_runtime.DGMRuntime",
            "parameters": {"uri": str(folder / memory)},
            **options,
        }
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "model-settings.json").write_text(json.dumps(model))
    log = open(folder / "log", "w")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from mlserver.cli import main; main()",
            "start",
            str(folder / "models"),
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=log,
        stderr=log,
    )
    try:
        with grpc.insecure_channel(
            f"127.0.0.1:{ports[1]}", [("grpc.max_receive_message_length", -1)]
        ) as channel:
            service = services.GRPCInferenceServiceStub(channel)
            tensor = messages.ModelInferRequest.InferInputTensor

            def asking(name: str) -> Ask:
                def ask(labels: np.ndarray, key: int) -> Any:
                    inputs = _inputs(labels, key)
                    request = messages.ModelInferRequest(
                        model_name=name,
                        inputs=[
                            tensor(name=each, datatype=_V2[value.dtype.name], shape=value.shape)
                            for each, value in inputs.items()
                        ],
                        raw_input_contents=[value.tobytes() for value in inputs.values()],
                    )
                    return service.ModelInfer(request, timeout=60)

                return ask

            for name in models:
                ready = messages.ModelReadyRequest(name=name)
                _wait(process, lambda ready=ready: service.ModelReady(ready).ready, grpc.RpcError)
            yield {name: asking(name) for name in models}
    finally:
        process.terminate()
        process.wait()
        log.close()


def _wait(process: subprocess.Popen, ready: Callable[[], bool], error: type[Exception]) -> None:
    for _ in range(240):
        if process.poll() is not None:
            break
        with contextlib.suppress(error):
            if ready():
                return
        time.sleep(0.5)
    sys.exit("MLServer did not start")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


if __name__ == "__main__":
    app.run(main)
