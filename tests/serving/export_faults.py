"""Kills exports at each moment, each before the next export; says what was not as promised.

    python -m tests.serving.export_faults --inside=20 FOLDER

Each process is a fork in which TensorFlow computes for the first time (see `tests.faults`): it
looks at what the killed one before it left, exports in its place, and is killed within a second
export.
"""

import argparse
import functools
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from dgm_tf import randomness
from dgm_tf.learners.dgm import TaskMemory
from dgm_tf.serving import export as exporting
from dgm_tf.serving.loading import load_exported
from tests.faults import Moments, forked
from tests.networks.tiny_generator import after

FILES = {
    "assets/model.json", "assets.extra/tf_serving_warmup_requests", "fingerprint.pb",
    "saved_model.pb",
    "variables/variables.data-00000-of-00001", "variables/variables.index",
}  # fmt: skip


class Memory:
    """Of one class, as an exporter sees it."""

    name, classes_seen, class_names, task_classes = "tiny", (0,), ("zero",), ((0,),)

    def __init__(self):
        self.generator = after(1)

    def generate(self, labels, *, seed=0):
        shape = [len(labels), self.generator.latent_dim]
        noise = randomness.normal(shape, randomness.pair(seed, "generate"))
        return np.asarray(TaskMemory(self.generator, exact=True).recall(0, noise))

    def state(self):
        return {}, {}


def abandoned(name):
    """The folders that killed exports leave, by name."""
    return sorted(path.name for path in name.glob(".*.writing"))


def watch(moments, delay):
    """The moments of an export; with a delay it ends so many seconds after the save began."""
    moments.watch_disk()
    save = tf.saved_model.save

    def saved(*args, **options):
        moments.pass_("save")
        began = time.monotonic()
        if delay is not None:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        save(*args, **options)
        moments.seconds = time.monotonic() - began
        moments.pass_("saved")

    tf.saved_model.save = saved


def exported_again(name, moments, delay=None):
    """Exports on top of what is there, then once more, watched."""
    memory, before = Memory(), exporting.versions_in(name)
    done = exporting.export(memory, name)
    assert done.path == name / str(max(before, default=0) + 1), done.path
    for version in (*before[-1:], done.path.name):
        assert load_exported(name / str(version)).audit() == {1: True}, version
    assert abandoned(name) == []
    # So that clearing away has its moments, too.
    left = name / f".{int(done.path.name) + 1}.writing" / "variables"
    left.mkdir(parents=True)
    (left / "variables.index").write_bytes(b"half")
    watch(moments, delay)
    exporting.export(memory, name)
    if delay is not None:  # The save was faster than the one that was timed.
        time.sleep(delay)


def counted(name, file):
    """Undisturbed; names of its moments and seconds of its save go to a file."""
    moments = Moments()
    exported_again(name, moments)
    file.write_text(json.dumps([moments.names, moments.seconds]))


def unlike_promised(name):
    """All but whole versions and the hidden folder of an export."""
    return [
        path.name
        for path in name.iterdir()
        if not path.name.startswith(".")
        and {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()} != FILES
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--inside", type=int, default=0, help="how many at any time of the save")
    arguments = parser.parse_args()
    root, name = arguments.folder, arguments.folder / "memory"
    root.mkdir(parents=True, exist_ok=True)
    if forked(lambda: counted(name, root / "moments.json")):
        sys.exit("the export that nothing disturbs failed")
    names, seconds = json.loads((root / "moments.json").read_text())
    last_rename = max(number for number, name in enumerate(names) if name == "rename")
    found = {"moments": {}, "versions": 0, "left": 0, "wrong": []}

    def kill(what, whole, **options):
        before = exporting.versions_in(name)[-1]
        code = forked(functools.partial(exported_again, name, **options))
        versions = exporting.versions_in(name)[-1] - before - 1
        wrong = unlike_promised(name)
        found["versions"] += versions
        found["left"] += len(abandoned(name)) > 0
        if code != -signal.SIGKILL or wrong or versions not in whole:
            found["wrong"].append(f"{what}: code {code}, {versions} versions, {wrong}")
        print(f"{what}: {versions} versions, left {abandoned(name)}", file=sys.stderr)

    for number, moment in enumerate(names):
        found["moments"][moment] = found["moments"].get(moment, 0) + 1
        kill(f"{moment} {number}", [int(number > last_rename)], moments=Moments(number))
    random.seed(0)
    for _ in range(arguments.inside):
        delay = random.uniform(0, seconds)
        kill(f"{delay:.2f} s into the save", [0, 1], moments=Moments(), delay=delay)
    if forked(functools.partial(exported_again, name, Moments())) or abandoned(name):
        found["wrong"].append("the last export, which nothing disturbs")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
