"""Adds classes to a memory, one for each subfolder of images.

The first command makes the memory. Later ones add the classes that it does not know, and need no
image of earlier classes. A command that was stopped resumes when you give it again.
"""

import functools
import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import FOLDER, LearnOptions, RunOptions, SettingsOptions
from trainers import command
from trainers.flags import Flags, program, quoted
from trainers.train import SETTINGS, used

_EXAMPLES = (
    "--memory=pets --images=week1",
    "--memory=pets --images=week2 --test_images=held_out",
    "--memory=pets --images=week1 --steps=1000 --image_size=64",
)
_FIRST = (
    "memory", "images", "test_images", "test_fraction", "together", "image_size", "steps", "seed",
)  # fmt: skip
_NOT_OF_A_MEMORY = ("run_dir", "oracle", "export_dir", "export_classifier")


def define() -> Flags:
    """The flags of this command."""
    made = Flags(
        "learn", __doc__, examples=_EXAMPLES, first=_FIRST, used=functools.partial(used, FOLDER)
    )
    made.add("What to learn", LearnOptions)
    made.add("Settings", SettingsOptions, *SETTINGS)
    return made.add("The command", RunOptions, without=_NOT_OF_A_MEMORY)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome("stopped; the same command resumes from the last checkpoint") as outcome:
        given = define().parse(arguments)
        learn = given.of(LearnOptions)
        options = given.of(RunOptions, command=given.command)
        from dgm_tf.experiments import open_memory

        asked, overrides = given.among(SettingsOptions), given.among(*SETTINGS)
        run = open_memory.prepare(learn, asked, overrides, options)
        run.run()
        picture = quoted([f"--memory={learn.memory}", str(run.stream.example)])
        command.say(f"To classify a picture: {program('classify')} {picture}")
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
