"""Generates images of some classes by an exported model and writes them into a PNG file."""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import option
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    model: str = option("exported model: NAME for its newest version, or NAME/<n>", shown="DIR")
    labels: tuple[str, ...] | None = option(
        "classes by id or name, such as 3,7; by default all",
        default=None,
    )
    count: int = option("images of each class", default=16)
    out: str = option("PNG file to write", default="grid.png", shown="FILE")
    seed: int = option("the same seed gives the same images", default=0)


def define() -> Flags:
    """The flags of this command."""
    examples = ("--model=runs/mine/export", "--model=runs/mine/export --labels=3,7 --count=8")
    return Flags("sample", __doc__, examples=examples).add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome("stopped; nothing was generated") as outcome:
        wanted = define().parse(arguments).of(Options)
        with command.hushed():
            from dgm_tf.serving import loading
        command.say(loading.sample(**dataclasses.asdict(wanted)))
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
