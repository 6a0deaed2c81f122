"""The command behind each trainer: a method learns one data set, class after class."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from dgm_tf.experiments.options import (
    FOLDER,
    OF_FOLDER,
    RunOptions,
    SettingsOptions,
    StreamOptions,
)
from dgm_tf.methods.registry import METHODS
from trainers import command
from trainers.flags import UNUSED, Flags, Given

SETTINGS = tuple(method.settings for method in METHODS.values())
_FIRST = (
    "method", "variant", "preset", "epochs", "classes_per_task", "max_tasks", "run_dir", "seed"
)  # fmt: skip
_FIRST_OF_FOLDER = (
    "images", "method", "variant", "steps", "classes_per_task", "max_tasks", "run_dir", "seed"
)  # fmt: skip
_EXAMPLES = ("--run_dir=runs/mine", "--variant=a --seed=1", "--method=joint --max_tasks=3")


def define(name: str, dataset: str, about: str) -> Flags:
    """The flags of a trainer.

    Args:
        name: of its module.
        dataset: the data set that it learns; "folder" for a folder that --images names.
        about: what it does.
    """
    folder = dataset == FOLDER
    made = Flags(
        name,
        about,
        examples=[f"--images=photos {each}" for each in _EXAMPLES] if folder else _EXAMPLES,
        first=_FIRST_OF_FOLDER if folder else _FIRST,
        used=functools.partial(used, dataset),
    )
    without = ("dataset", *(["data_dir"] if folder else OF_FOLDER))
    made.add("What to learn", StreamOptions, without=without)
    made.add("Method", SettingsOptions)
    made.add("Settings", *SETTINGS)
    return made.add("The run", RunOptions)


def main(name: str, dataset: str, about: str, arguments: Sequence[str] | None = None) -> int:
    """Runs a trainer and returns its exit code, one of those of `trainers.command`."""
    with command.outcome("stopped; the same command resumes from the last checkpoint") as outcome:
        given = define(name, dataset, about).parse(arguments)
        stream = given.of(StreamOptions, dataset=dataset)
        chosen = given.of(SettingsOptions)
        settings = chosen.resolve(dataset, given.among(*SETTINGS))
        options = given.of(RunOptions, command=given.command)
        from dgm_tf.experiments.run import prepare

        prepare(stream, chosen.method, settings, options).run()
    return outcome.code


def used(dataset: str, given: Given) -> Mapping[str, Any]:
    """The settings that a command line leads to; those of other methods are unused.

    Args:
        dataset: as in `define`.
        given: of the command line.
    """
    chosen = given.of(SettingsOptions)
    settings = chosen.resolve(dataset, given.among(*SETTINGS))
    every = {field.name: UNUSED for kind in SETTINGS for field in dataclasses.fields(kind)}
    return {**every, **dataclasses.asdict(settings), "preset": chosen.chosen_preset()}
