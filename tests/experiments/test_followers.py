"""The chief's word arrives to the bit, and whoever hears it learns the same."""

import json
import signal
import time

import numpy as np
import pytest

from benchmarks.local_cluster import tf_configs
from dgm_tf.devices.distribution import Distribution
from dgm_tf.errors import InputError
from dgm_tf.experiments.followers import Assignment, Crew, Follower, Leader, crew
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.terminal import stopping
from tests.experiments.toy import NearestMean, new_stream
from tests.processes import ended, finished, started

# Unusual values come over as they are.
STATE = (
    {"loss": [0.1, float("nan"), float("inf")], "names": ["3", "ä\n"], "none": None},
    {"w/kernel:0": np.array([[1, -0.0, np.nan]], np.float32), "bits": np.arange(3, dtype=np.uint8),
     "file": np.array(7, np.int64)},
)  # fmt: skip


def same(one, two):
    if one is None or two is None:
        return one is two
    metas = [repr(sorted(meta.items())) for meta, _ in (one, two)]
    arrays = [
        {name: (array.dtype, array.shape, array.tobytes()) for name, array in named.items()}
        for _, named in (one, two)
    ]
    return metas[0] == metas[1] and arrays[0] == arrays[1]


@pytest.mark.parametrize("learner", [None, STATE])
@pytest.mark.parametrize("found", [None, STATE])
def test_what_the_chief_says_arrives_to_the_bit(learner, found):
    heard = Assignment.unpacked(Assignment(3, learner, found, {"seed": 7}).packed())
    assert (heard.task, heard.run) == (3, {"seed": 7})
    assert same(heard.learner, learner)
    assert same(heard.found, found)


class Told(Distribution):
    """A process that hears what the test says."""

    is_chief, processes = False, 2

    def __init__(self, *said):
        self._said = [each.packed() for each in said]

    def from_chief(self, data):
        assert data is None
        return self._said.pop(0)


class Heard(Distribution):
    """The chief of two processes, whose words are kept."""

    processes = 2

    def __init__(self):
        self.said = []

    def from_chief(self, data):
        self.said.append(Assignment.unpacked(data))
        return data


class Watched(NearestMean):
    """Notes what it is asked to learn: task, and tasks finished before."""

    def __init__(self, seen):
        super().__init__()
        self._seen = seen

    def learn_task(self, task, *, callbacks=()):
        self._seen.append((task.index, self.finished_tasks))
        return super().learn_task(task)


RUN = {"settings": {"seed": 0}}


def test_the_chief_tells_what_each_task_depends_on_and_when_nothing_is_left():
    place, learner = Heard(), NearestMean()
    leader = crew(place, RUN)
    for task in new_stream().tasks():
        with leader.learning(task, learner, None):
            learner.learn(task)
        if task.index == 2:
            break
    leader.ends()
    first, second, end = place.said
    assert isinstance(leader, Leader) and (first.task, second.task, end.task) == (1, 2, 0)
    assert first.learner is None and first.run == RUN
    assert second.learner[0]["tasks"] == [[0]] and "mean/0" in second.learner[1]


def test_a_run_of_one_process_tells_nobody():
    assert type(crew(Distribution(), RUN)) is Crew
    with pytest.raises(ValueError, match="belongs to the chief"):
        crew(Told(), RUN)


def test_a_follower_learns_what_it_is_told_from_the_state_it_is_told():
    learnt, seen = NearestMean(), []
    learnt.learn(next(new_stream().tasks()))
    told = Told(Assignment(1, run=RUN), Assignment(2, learnt.state(), run=RUN), Assignment(0))
    Follower(new_stream(), Watched(seen), told, RUN).run()
    assert seen == [(1, 0), (2, 1)]


def test_a_follower_counts_to_its_last_task_and_learns_no_other():
    class Titles(Watched):
        def learn_task(self, task, **options):
            self._seen.append(str(task))
            return NearestMean.learn_task(self, task, **options)

    seen = []
    told = Told(*(Assignment(task, run=RUN) for task in (1, 2)))
    with pytest.raises(InputError, match="the chief learns task 2.*same --max_tasks"):
        Follower(new_stream(), Titles(seen), told, RUN, last=1).run()
    assert len(seen) == 1 and "task 1 of 1" in seen[0]


def test_a_follower_of_another_run_is_refused():
    told = Told(Assignment(1, run={"settings": {"seed": 1}}))
    with pytest.raises(InputError, match="settings.seed is 1 there, 0 here"):
        Follower(new_stream(), Watched([]), told, RUN).run()


def test_a_follower_leaves_it_to_the_chief_to_stop():
    class Asked(Watched):
        def learn_task(self, task, **options):
            assert stopping.request(signal.SIGTERM)
            return super().learn_task(task, **options)

    seen = []
    told = Told(*(Assignment(task, run=RUN) for task in (1, 0)))
    with pytest.raises(stopping.Stopped) as stopped:
        Follower(new_stream(), Asked(seen), told, RUN).run()
    assert stopped.value.exit_code == 143
    assert seen == [(1, 0)]


# Two processes on this machine.

SIZES = [
    "--max_tasks=2", "--epochs=8", "--batch_size=32", "--checkpoint_every=4",
    "--generator_size=4", "--critic_size=4", "--consolidation_steps=16", "--nooracle",
    "--verbosity=0",
    '--settings={"latent_dim": 12, "replay_batch": 16, "replay_buffer": 32}',
]  # fmt: skip


def trainer(run_dir, *flags, tf_config=None):
    command = ["trainers.split_digits", *SIZES, f"--run_dir={run_dir}", *flags]
    return started(*command, tf_config=tf_config)


def two_processes(run_dir):
    return [
        trainer(run_dir, "--distribute=multiworker", tf_config=config) for config in tf_configs(2)
    ]


def wait_for_checkpoint(run_dir, task, process):
    """Waits until a checkpoint inside the task is there."""
    unfinished = run_dir / "checkpoints" / "unfinished"
    while not list(unfinished.glob(f"task-{task:02d}-step-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def final_state(run_dir):
    row, meta, arrays = RunFolder(run_dir).saved(2)
    for name in ("seconds", "evaluation_seconds", "peak_memory_mib"):
        row.pop(name)
    return row, meta, {name: (each.shape, each.tobytes()) for name, each in arrays.items()}


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["follower", "chief"])
def test_a_run_that_loses_a_process_goes_on_to_the_same_bits(tmp_path, lost):
    for process in two_processes(tmp_path / "whole"):
        finished(process)
    chief, follower = two_processes(tmp_path / "cut")
    wait_for_checkpoint(tmp_path / "cut", 2, chief)
    killed, other = (follower, chief) if lost == "follower" else (chief, follower)
    killed.send_signal(signal.SIGKILL)
    code, output = ended(other)
    assert code == 4, output
    assert "error: another process of this run has ended" in output
    assert "Traceback" not in output
    ended(killed)
    for process in two_processes(tmp_path / "cut"):
        finished(process)
    assert final_state(tmp_path / "cut") == final_state(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_goes_on_on_other_devices(tmp_path):
    """One task by two devices, the next by one; the memory of the first stays as it was."""
    finished(trainer(tmp_path, "--distribute=mirrored", "--replicas=2", "--max_tasks=1"))
    output = finished(trainer(tmp_path))
    assert "task 1: identical after 1 later task" in output


@pytest.mark.slow
def test_a_run_that_is_stopped_everywhere_keeps_its_last_step(tmp_path):
    processes = two_processes(tmp_path)
    wait_for_checkpoint(tmp_path, 1, processes[0])
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
    (code, output), (other, _) = map(ended, processes)
    assert (code, other) == (143, 143), output
    assert "the same command resumes it from there" in output


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_waits_for_the_others_says_so_and_ends_on_a_signal(tmp_path, rank, signum):
    config = tf_configs(2)[rank]
    other = json.loads(config)["cluster"]["worker"][1 - rank]
    alone = trainer(tmp_path, "--distribute=multiworker", tf_config=config)
    for line in alone.stdout:
        if line.startswith("waiting for"):
            break
    assert other in line
    alone.send_signal(signum)
    code, output = ended(alone)
    assert code == 128 + signum and output.startswith("stopped;")


@pytest.mark.slow
def test_a_process_whose_peer_does_not_answer_ends_when_asked_twice(tmp_path):
    chief, follower = two_processes(tmp_path)
    wait_for_checkpoint(tmp_path, 1, chief)
    follower.send_signal(signal.SIGSTOP)
    try:
        time.sleep(2.0)
        chief.send_signal(signal.SIGTERM)
        time.sleep(2.0)
        assert chief.poll() is None  # It would write a checkpoint first.
        chief.send_signal(signal.SIGTERM)
        assert chief.wait(timeout=10) == 143
    finally:
        follower.kill()
    ended(chief)
    ended(follower)
