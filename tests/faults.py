"""Kills a small run at each of its moments and lets it go on; says what differs in the end.

    python -m tests.faults --chains=10 FOLDER

TensorFlow is imported once. Each run is a fork of that process which ends itself by SIGKILL:
no `finally`, no flush, no exit handler.
"""

import argparse
import functools
import json
import os
import random
import shutil
import signal
import sys
import traceback
from pathlib import Path

from dgm_tf.experiments.options import QUIET, RunOptions
from dgm_tf.experiments.run import Run
from dgm_tf.learners.task_checkpoint import TaskCheckpoint
from dgm_tf.reporting import page
from dgm_tf.storage.checkpoint import Every
from tests import tiny_phases
from tests.run_content import content

# Each call of these is a moment: the process can end just before it.
DISK = ((os, "replace"), (os, "rename"), (os, "fsync"), (os, "unlink"), (shutil, "rmtree"))


class Moments:
    """Counts what happens in a run, and ends the process before the moment that is due."""

    def __init__(self, due=None):
        self.names, self._due = [], due

    def pass_(self, name):
        if len(self.names) == self._due:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)

    def watch(self, owner, name, title):
        function = getattr(owner, name)

        @functools.wraps(function)
        def watched(*args, **options):
            self.pass_(title)
            return function(*args, **options)

        setattr(owner, name, watched)

    def watch_disk(self):
        for owner, name in DISK:
            self.watch(owner, name, name)

    def watch_all(self, learner):
        self.watch_disk()
        self.watch(TaskCheckpoint, "step_done", "step")
        self.watch(learner, "grown", "growth")


def learn(folder, every):
    """Learns two tasks into a run folder."""
    options = RunOptions(run_dir=folder, checkpoint_every=every, verbosity=QUIET, oracle=False)
    Run(tiny_phases.new_stream(), tiny_phases.TinyLearner(), options).run()


def run(folder, every, moments):
    page.write_page = lambda folder: None  # Takes longer than all the rest.
    moments.watch_all(tiny_phases.TinyLearner)
    learn(folder, every)


def forked(work):
    """Does the work in a fork; gives the exit code, negative for a signal."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def counted(folder, every, names):
    """A whole run; the names of its moments go to a file."""
    moments = Moments()
    run(folder, every, moments)
    names.write_text(json.dumps(moments.names))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chains", type=int, default=0, help="runs killed again and again")
    arguments = parser.parse_args()
    every, root = Every(steps=3), arguments.folder
    root.mkdir(parents=True, exist_ok=True)
    if forked(lambda: counted(root / "whole", every, root / "moments.json")):
        sys.exit("the run that nothing disturbs failed")
    wanted = content(root / "whole")
    names = json.loads((root / "moments.json").read_text())
    found = {"moments": {}, "resumed": 0, "differing": [], "chains": []}

    def check(folder, what):
        while (code := forked(lambda: run(folder, every, Moments()))) == -signal.SIGKILL:
            pass
        found["resumed"] += 1
        same = not code and content(folder) == wanted
        if not same:
            found["differing"].append(what)
        print(f"{what}: {'the same' if same else 'differs'}", file=sys.stderr)
        shutil.rmtree(folder)

    for number, name in enumerate(names):
        folder = root / f"at-{number}"
        code = forked(functools.partial(run, folder, every, Moments(number)))
        if code != -signal.SIGKILL:
            found["differing"].append(f"{name} {number} was not reached: {code}")
        found["moments"][name] = found["moments"].get(name, 0) + 1
        check(folder, f"{name} {number}")
    random.seed(0)
    for chain in range(arguments.chains):
        folder, kills, code = root / f"chain-{chain}", 0, -signal.SIGKILL
        while code == -signal.SIGKILL:
            due = random.randrange(len(names))
            code = forked(functools.partial(run, folder, every, Moments(due)))
            kills += code == -signal.SIGKILL
        found["chains"].append(kills)
        check(folder, f"chain {chain}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
