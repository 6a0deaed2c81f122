"""Generates images of classes from a memory, and writes them to a PNG file."""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import MEMORY, option
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    memory: str = option(
        f"{MEMORY}, or exported model (NAME for its newest version, or NAME/2)", shown="DIR"
    )
    labels: tuple[str, ...] | None = option(
        "classes by name or id, such as cat,dog; by default all, or some if there are more than 40",
        default=None,
    )
    count: int = option("number of images of each class", default=16)
    out: str = option("PNG file to write", default="grid.png", shown="FILE")
    seed: int = option("source of the noise: the same seed gives the same images", default=0)


def define() -> Flags:
    """The flags of this command."""
    examples = ("--memory=pets", "--memory=runs/mine/export --labels=3,7 --count=8")
    return Flags("sample", __doc__, examples=examples).add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome("stopped; nothing was generated") as outcome:
        wanted = define().parse(arguments).of(Options)
        from dgm_tf.experiments import memory_use

        command.say(memory_use.sample(**dataclasses.asdict(wanted)))
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
