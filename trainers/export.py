"""Exports the memory of a run of DGM, finished or not, as a SavedModel."""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import option
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    run_dir: str = option("folder of the run", shown="DIR")
    task: int | None = option(
        "the memory as it was after this task, from 1; by default the last one finished",
        default=None,
    )
    export_dir: str | None = option(
        "folder NAME that gets DGM's memory as NAME/1, NAME/2, ..., a SavedModel for TensorFlow "
        "Serving and others; by default RUN_DIR/export",
        default=None,
        shown="DIR",
    )
    export_classifier: bool = option("export the classifier, too", default=False)


def define() -> Flags:
    """The flags of this command."""
    examples = ("--run_dir=runs/mine", "--run_dir=runs/mine --task=5 --export_classifier")
    return Flags("export", __doc__, examples=examples).add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome("stopped; nothing was exported") as outcome:
        wanted = define().parse(arguments).of(Options)
        with command.hushed():
            from dgm_tf.experiments.export import export_run
        classifier = wanted.export_classifier
        exported = export_run(
            wanted.run_dir, task=wanted.task, export_dir=wanted.export_dir, classifier=classifier
        )
        command.say(str(exported))
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
