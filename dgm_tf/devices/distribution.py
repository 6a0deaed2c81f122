"""Training on several devices of a machine, or on several machines.

A *replica* takes each training step on its own part of the batch. All replicas hold the same
variables, draw the same random numbers, of which each uses its part, and apply the same mean
gradients: N of them learn what one would learn, except for the order of sums.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from dgm_tf import _checks
from dgm_tf.devices import rendezvous
from dgm_tf.errors import InputError, PeerLost
from dgm_tf.methods.settings import DISTRIBUTIONS

# A training step of one replica, or of all: from a batch to scalars by name.
Step = Callable[[Any], dict[str, tf.Tensor]]

_WORD = 4  # bytes of an int32

_START_SECONDS = 60
_GUARD = """
import os, signal, sys, time
parent, end = os.getppid(), time.monotonic() + float(sys.argv[1])
while os.getppid() == parent:
    time.sleep(0.2)
    if time.monotonic() > end:
        print("error: another process of this run has ended; start all again", file=sys.stderr)
        os.kill(parent, signal.SIGKILL)
"""

# What a collective operation ends with when another process is gone. Everything else, such as
# exhausted memory, is this process's own.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


class Distribution:
    """One device; what the others do more.

    Attributes:
        replicas: their number.
        processes: the number of processes that they are in.
        is_chief: True in the process that writes the run's folder.
    """

    replicas = 1
    processes = 1
    is_chief = True

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """A block for everything that makes or trains networks."""
        return contextlib.nullcontext()

    def on_replicas(self, step: Step) -> Step:
        """Returns a step on every replica, each on its part of the batch.

        Args:
            step: from a batch, tensors whose first axis is divided (scalars are not), to scalars
                by name. The result gives their means over the replicas.
        """
        return step

    def index(self) -> Any:
        """This replica's number, from 0, inside a step; None outside."""
        return None

    def mean_vector(self, values: tf.Tensor) -> tf.Tensor:
        """The mean over replicas of one float32 vector, inside a step."""
        return values

    def copies(self, variable: tf.Variable) -> Sequence[tf.Variable]:
        """The variable of each replica in this process."""
        return (variable,)

    def from_chief(self, data: bytes | None) -> bytes:
        """The chief's `data`, in every process."""
        return data or b""

    @contextlib.contextmanager
    def watching_peers(self) -> Iterator[None]:
        """A block in which the loss of another process is a `PeerLost`."""
        yield


class Mirrored(Distribution):
    """Several devices of this machine, by `tf.distribute.MirroredStrategy`."""

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self.replicas = strategy.num_replicas_in_sync

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        return self._strategy.scope()

    def on_replicas(self, step: Step) -> Step:
        def mirrored(batch: Any) -> dict[str, tf.Tensor]:
            values = self._strategy.run(lambda: _stepped(step, batch))
            return {
                name: self._strategy.experimental_local_results(each)[0]
                for name, each in values.items()
            }

        return mirrored

    def index(self) -> Any:
        context = tf.distribute.get_replica_context()
        if context is None or context.strategy is not self._strategy:
            return None
        return context.replica_id_in_sync_group

    def mean_vector(self, values: tf.Tensor) -> tf.Tensor:
        return _merged(values)

    def copies(self, variable: tf.Variable) -> Sequence[tf.Variable]:
        return self._strategy.experimental_local_results(variable)


class Processes(Distribution):
    """Several processes with a device each, by `tf.distribute.MultiWorkerMirroredStrategy`.

    A process has its own, ordinary variables, and the strategy only adds numbers up. Its mirrored
    variables would need every process whenever one is made, and can hold no masks, which are bytes.
    """

    def __init__(self, rank: int, processes: int):
        try:
            with _bounded_start():
                self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except (RuntimeError, tf.errors.OpError) as error:
            raise InputError(
                "--distribute=multiworker cannot begin; every process of TF_CONFIG must be "
                "started, at an address that is its own and free, before anything else is done "
                f"with TensorFlow ({_checks.one_line(error)})"
            ) from error
        self.replicas = self._strategy.num_replicas_in_sync
        self.processes = processes
        self.is_chief = rank == 0
        self._rank = rank
        self._stepping = False
        if self.replicas != processes:
            raise InputError(
                f"--distribute=multiworker wants one device in each process: {processes} processes "
                f"have {self.replicas} devices; start a process per device, each of which sees its "
                "own (CUDA_VISIBLE_DEVICES)"
            )

    def on_replicas(self, step: Step) -> Step:
        def of_this_process(batch: Any) -> dict[str, tf.Tensor]:
            self._stepping = True
            try:
                return _stepped(step, batch)
            finally:
                self._stepping = False

        return of_this_process

    def index(self) -> Any:
        return self._rank if self._stepping else None

    def mean_vector(self, values: tf.Tensor) -> tf.Tensor:
        return self._strategy.run(_merged, args=(values,))

    def from_chief(self, data: bytes | None) -> bytes:
        length = self._sum(tf.constant([len(data or b"")], tf.int32)).numpy()[0]
        words = -(-length // _WORD)
        padded = (data or b"").ljust(words * _WORD, b"\0")
        return self._sum(tf.io.decode_raw(padded, tf.int32)).numpy().tobytes()[:length]

    @tf.function(autograph=False, reduce_retracing=True)
    def _sum(self, values: tf.Tensor) -> tf.Tensor:
        def on_replica(mine: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(mine))

        return self._strategy.run(on_replica, args=(values,))

    @contextlib.contextmanager
    def watching_peers(self) -> Iterator[None]:
        try:
            yield
        except _LOST as error:
            raise PeerLost(
                "another process of this run has ended or cannot be reached "
                f"({type(error).__name__}); start all of them again, and the run resumes from its "
                "last checkpoint"
            ) from error


@contextlib.contextmanager
def _bounded_start() -> Iterator[None]:
    """A block that waits in TensorFlow for processes that have just been there, not for long.

    Nothing of Python runs meanwhile, and TensorFlow takes SIGTERM for itself. So Ctrl-C ends this
    process without Python, and where a peer has died in this moment another process ends it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    guard = subprocess.Popen([sys.executable, "-I", "-S", "-c", _GUARD, str(_START_SECONDS)])
    try:
        yield
    finally:
        guard.kill()
        guard.wait()
        for each, handler in former.items():
            if handler is not None:
                signal.signal(each, handler)


def _merged(values: tf.Tensor) -> tf.Tensor:
    # The copy stands on the replica's device, which tells the reduction where its result goes.
    context = tf.distribute.get_replica_context()
    return context.merge_call(_reduced, args=(tf.identity(values),))


def _reduced(strategy: tf.distribute.Strategy, values: Any) -> Any:
    # By hand, since `all_reduce` goes through a custom gradient, which TensorFlow registers for
    # good: every task's training graph would stay in memory, tens of megabytes each.
    return strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.MEAN, [(values, values)])[0]


_present = Distribution()


def present() -> Distribution:
    """The distribution of the block that the program is in."""
    return _present


@contextlib.contextmanager
def distributed(mode: str = "none", *, replicas: int | None = None) -> Iterator[Distribution]:
    """A block in which learners train on several devices or processes.

    Learners are made and used within one such block.

    Args:
        mode: `"none"`, `"mirrored"` (all GPUs of this machine) or `"multiworker"` (processes as the
            environment variable TF_CONFIG names them, with a device each).
        replicas: devices to mirror, by default all. On a machine without a GPU the processor is
            divided into so many, for trials.

    Yields:
        The devices, whose `replicas` is their number.

    Raises:
        InputError: there are not that many devices, or TF_CONFIG cannot be used.

    Example:
        ```python
        with dgm_tf.distributed("mirrored", replicas=2):  # two parts of a processor, for a trial
            model = dgm_tf.DGM.from_preset("digits", epochs=1, consolidation_steps=4)
            for task in dgm_tf.class_incremental("digits").tasks(last=1):
                model.learn(task)
        ```
    """
    with used(start(mode, replicas=replicas)) as place:
        yield place


def start(mode: str = "none", *, replicas: int | None = None) -> Distribution:
    """Takes devices or processes together, before anything else is done with TensorFlow.

    Arguments and errors are those of `distributed`.
    """
    if mode not in DISTRIBUTIONS:
        raise InputError(f"distribute must be {', '.join(DISTRIBUTIONS)}, not {mode!r}")
    if replicas is not None and mode != "mirrored":
        raise InputError("--replicas goes only with --distribute=mirrored: leave it out")
    if mode == "none":
        return Distribution()
    if mode == "mirrored":
        devices = _devices(replicas)
        if len(devices) == 1:
            return Distribution()
        return Mirrored(tf.distribute.MirroredStrategy(devices))
    rank, addresses = place_in_cluster(os.environ.get("TF_CONFIG"))
    rendezvous.meet(addresses, rank)
    return Processes(rank, len(addresses))


@contextlib.contextmanager
def used(place: Distribution) -> Iterator[Distribution]:
    """A block in which learners are made and trained on what `start` gave."""
    global _present
    before, _present = _present, place
    try:
        with place.scope():
            yield place
    finally:
        _present = before


def _devices(wanted: int | None) -> list[str]:
    if wanted is not None:
        _checks.integer(wanted, "replicas", low=1)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return _parts_of_processor(wanted)
    if wanted is not None and wanted > len(gpus):
        raise InputError(f"--replicas is {wanted}, this machine has {len(gpus)} GPUs")
    return [f"GPU:{number}" for number in range(wanted or len(gpus))]


def _parts_of_processor(wanted: int | None) -> list[str]:
    if wanted is None:
        raise InputError(
            "--distribute=mirrored found no GPU; leave it out, or give --replicas=N, which divides "
            "the processor into N devices, for trials"
        )
    parts = [tf.config.LogicalDeviceConfiguration()] * wanted
    with contextlib.suppress(RuntimeError):  # TensorFlow has begun to work: they are as they are.
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    found = len(tf.config.list_logical_devices("CPU"))
    if found < wanted:
        raise InputError(
            f"--replicas is {wanted}, and the processor is {found} device{'s' if found > 1 else ''}"
            " since TensorFlow began to work: ask before anything else is done with it"
        )
    return [f"CPU:{number}" for number in range(wanted)]


def place_in_cluster(text: str | None) -> tuple[int, list[str]]:
    """This process's number, 0 for the chief, and all addresses, the chief's first, by a TF_CONFIG.

    Raises:
        InputError: it does not say, or names tasks other than chief and workers.
    """
    wanted = (
        '--distribute=multiworker wants an environment variable TF_CONFIG such as {"cluster": '
        '{"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
    )
    if not text:
        raise InputError(f"{wanted}; it is not set")
    try:
        config = json.loads(text)
        cluster, kind = config["cluster"], config["task"]["type"]
        index = int(config["task"]["index"])
        order = [
            (name, number)
            for name in ("chief", "worker")
            for number in range(len(cluster.get(name, ())))
        ]
        if set(cluster) - {"chief", "worker"} or not all(
            isinstance(v, list) for v in cluster.values()
        ):
            raise ValueError("its cluster may have chief and worker, lists of addresses")
        addresses = [str(cluster[name][number]) for name, number in order]
        return order.index((kind, index)), addresses
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{wanted}; {_checks.reason(error)} in {_checks.one_line(text)}"
        ) from error


# Inside a step.


def count() -> int:
    """Replicas that take the present step; 1 outside a step."""
    return 1 if _present.index() is None else _present.replicas


def part(values: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """This replica's part of what belongs to all of them; all of it outside a step."""
    index = _present.index()
    if index is None or _present.replicas == 1:
        return values
    rows = values.shape[axis] or tf.shape(values)[axis]
    if isinstance(rows, int) and rows % _present.replicas:
        raise InputError(
            f"{rows} images cannot be divided evenly by {_present.replicas} replicas: choose a "
            "batch size that can"
        )
    each = rows // _present.replicas
    begin, size = [0] * values.shape.rank, [-1] * values.shape.rank
    begin[axis], size[axis] = index * each, each
    taken = tf.slice(values, tf.stack(begin), tf.stack(size))
    shape = values.shape.as_list()
    shape[axis] = each if isinstance(each, int) else None
    taken.set_shape(shape)
    return taken


def per_replica(number: int) -> int:
    """One replica's part of a number of images, rounded up."""
    return -(-number // count())


def copies(variable: tf.Variable) -> Sequence[tf.Variable]:
    """The variable of each replica in this process, to be written outside a step."""
    return _present.copies(variable)


def primary(variable: Any) -> tf.Variable:
    """The variable's copy that is read outside a step, the only one that a tape knows there."""
    return getattr(variable.value, "values", [variable.value])[0]


def part_drawn(
    draw: Callable[[Sequence[Any], tf.Tensor], tf.Tensor],
    shape: Sequence[Any],
    seed: tf.Tensor,
    *,
    axis: int = 0,
) -> tf.Tensor:
    """This replica's part of random numbers for all, which are the same on each.

    Args:
        draw: takes a shape and a seed, such as `dgm_tf.randomness.normal`.
        shape: of the part.
        seed: int32 [2].
        axis: the one that the replicas divide.
    """
    whole = [*shape[:axis], count() * shape[axis], *shape[axis + 1 :]]
    return part(draw(whole, seed), axis=axis)


def _stepped(step: Step, batch: Any) -> dict[str, tf.Tensor]:
    """A replica's step on its own part of a batch, and what all log in the mean."""
    own = tf.nest.map_structure(lambda each: part(each) if each.shape.rank else each, batch)
    values = step(own)
    return dict(zip(values, mean(list(values.values())), strict=True))


def mean(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Means over the replicas of a step of float32 tensors, all in one message.

    There is no gradient through it; see `differentiable_mean`.
    """
    return _as_vector(_present.mean_vector, values) if count() > 1 else list(values)


def differentiable_mean(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The same with first and second gradients, for use in a loss.

    TensorFlow registers it for good, and with it the graph of the training step, tens of megabytes
    for each task; on one device it is not used. The gradient is that of the mean of all replicas'
    losses, times the number of replicas: the mean of the gradients is the right one.
    """
    return _as_vector(_mean_with_gradient, values) if count() > 1 else list(values)


@tf.custom_gradient
def _mean_with_gradient(values: tf.Tensor) -> Any:
    return _present.mean_vector(values), _mean_with_gradient


def _as_vector(
    function: Callable[[tf.Tensor], tf.Tensor], values: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    flat = function(tf.concat([tf.reshape(each, [-1]) for each in values], axis=0))
    sizes = [each.shape.num_elements() for each in values]
    parts = tf.split(flat, sizes)
    return [tf.reshape(got, each.shape) for got, each in zip(parts, values, strict=True)]


def moments(values: tf.Tensor, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance over axes and over all replicas of a step; see `tf.nn.moments`."""
    if count() == 1:
        return tf.nn.moments(values, axes=list(axes))
    (mean_all,) = differentiable_mean([tf.reduce_mean(values, axes)])
    # The mean is held still here, as in `tf.nn.moments`: the second derivatives, which a gradient
    # penalty takes, are to be the same.
    centre = tf.stop_gradient(mean_all)
    for axis in sorted(axes):
        centre = tf.expand_dims(centre, axis)
    spread = tf.reduce_mean(tf.math.squared_difference(values, centre), axes)
    return mean_all, differentiable_mean([spread])[0]
