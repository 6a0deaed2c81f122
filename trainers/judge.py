"""Judges generated images: how many an oracle recognises, and the nearest real images."""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import IMAGES, MEMORY, follow_links_option, option
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    memory: str = option(MEMORY, shown="DIR")
    task: int | None = option(
        "use the generator as it was after this task, from 1; by default the last finished one",
        default=None,
    )
    images: str | None = option(
        f"{IMAGES}, for a run of split_folder or a memory; of a memory the classes at hand will do",
        default=None,
        shown="DIR",
    )
    test_images: str | None = option(
        "folder of test images of a run of split_folder", default=None, shown="DIR"
    )
    follow_links: bool = follow_links_option()
    data_dir: str | None = option(
        "folder of data that TensorFlow Datasets has prepared", default=None, shown="DIR"
    )
    images_per_class: int = option("number of generated images of each class", default=200)
    out: str | None = option(
        "PNG file of generated images next to the nearest real ones; by default nearest-TT.png in "
        "the folder samples of the run, where TT is the task",
        default=None,
        shown="FILE",
    )


def define() -> Flags:
    """The flags of this command."""
    examples = ("--memory=runs/mine", "--memory=pets --images=photos --out=nearest.png")
    return Flags("judge", __doc__, examples=examples).add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome() as outcome:
        wanted = define().parse(arguments).of(Options)
        from dgm_tf.experiments.judge import judge_run

        print(judge_run(**dataclasses.asdict(wanted)), flush=True)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
