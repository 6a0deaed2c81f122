"""Searches for settings of DGM with KerasTuner: s_max, lambda, and others that you name.

A trial learns the first tasks of a stream. The search compares trials by validation images of all
classes seen, finished tasks included. A run never reads those. The search reads no test image.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_tf.errors import InputError
from dgm_tf.experiments.options import FOLDER, SettingsOptions, StreamOptions
from dgm_tf.methods.settings import DGMSettings
from dgm_tf.storage import paths
from dgm_tf.tuning.space import Aim, Plan
from trainers import command, train
from trainers.flags import Flags, Given

_SEARCHES = "runs/tuning"  # where a search is kept that names no folder
_EXAMPLES = (
    "--dataset=digits --variant=w",
    "--dataset=mnist --search=s_max,learning_rate --trials=40",
    "--dataset=mnist --tuner=hyperband --fresh_seeds=1,2",
)
_FIRST = (
    "dataset", "variant", "search", "max_tasks", "trials", "tuner", "fresh_seeds", "search_dir",
)  # fmt: skip


def define() -> Flags:
    """The flags of this command."""
    made = Flags("tune", __doc__, examples=_EXAMPLES, first=_FIRST, used=_used)
    made.add("What to learn", StreamOptions, without=("max_tasks",))
    made.add("The search", Aim, Plan)
    return made.add("Where it begins", SettingsOptions, DGMSettings, without=("method",))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome("stopped; the same command resumes with the trials left") as outcome:
        given = define().parse(arguments)
        options, aim, plan = given.of(StreamOptions), given.of(Aim), given.of(Plan)
        _check_used(given, plan.tuner)
        settings = given.of(SettingsOptions).resolve(options.dataset, given.among(DGMSettings))
        folders = (options.images, options.test_images)
        paths.check_apart(folders, plan.search_dir or _SEARCHES, "--search_dir")
        from dgm_tf.devices import onednn
        from dgm_tf.experiments.run import check_sizes, last_task
        from dgm_tf.tuning.hypermodel import HyperDGM
        from dgm_tf.tuning.search import search

        stream = options.open(settings.seed)
        if "max_tasks" not in given.values:  # Its default is for streams that have so many.
            plan = dataclasses.replace(plan, max_tasks=min(plan.max_tasks, len(stream)))
        check_sizes(stream, settings, max_tasks=last_task(stream, plan.max_tasks))
        if not plan.quiet:
            for line in stream.remarks:
                command.say(line)
            onednn.advise()
        search(stream, HyperDGM(settings, aim), plan, command=given.command)
    return outcome.code


def _check_used(given: Given, tuner: str) -> None:
    for name in ("trials",) if tuner == "hyperband" else ("factor", "halvings"):
        if name in given.values:
            raise InputError(f"--{name} means nothing to --tuner={tuner}: leave it out")


def _used(given: Given) -> Mapping[str, Any]:
    return train.used(given.values.get("dataset", FOLDER), given)


if __name__ == "__main__":
    sys.exit(main())
