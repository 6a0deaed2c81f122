"""Exports a memory or another run of DGM as a SavedModel, for servers and other programs."""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import MEMORY, option
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    memory: str = option(MEMORY, shown="DIR")
    task: int | None = option(
        "export the memory as it was after this task, from 1; by default the last finished one",
        default=None,
    )
    export_dir: str | None = option(
        "folder NAME that gets the SavedModel NAME/1, the next one as NAME/2; by default the "
        "folder export of the memory",
        default=None,
        shown="DIR",
    )
    export_classifier: bool = option("also export the classifier", default=False)


def define() -> Flags:
    """The flags of this command."""
    examples = ("--memory=pets --export_classifier", "--memory=runs/mine --task=5")
    return Flags("export", __doc__, examples=examples).add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome("stopped; nothing was exported") as outcome:
        wanted = define().parse(arguments).of(Options)
        from dgm_tf.experiments.export import export_run

        classifier = wanted.export_classifier
        exported = export_run(
            wanted.memory, task=wanted.task, export_dir=wanted.export_dir, classifier=classifier
        )
        command.say(str(exported))
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
