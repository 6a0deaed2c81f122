"""Shows a memory on a page in the browser: classify an image, generate some, look at the curves."""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import MEMORY, option
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    memory: str = option(f"{MEMORY}, or exported model", shown="DIR")
    host: str = option(
        "address to listen on, by default this machine's own, which no other machine reaches; "
        "0.0.0.0 lets everybody in who reaches this machine",
        default="127.0.0.1",
    )
    port: int = option("port to listen on; 0 takes one that is free", default=7860)


def define() -> Flags:
    """The flags of this command."""
    examples = ("--memory=digits-demo", "--memory=pets --port=0")
    return Flags("show", __doc__, examples=examples).add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome() as outcome:
        wanted = define().parse(arguments).of(Options)
        from dgm_tf.experiments import show_page

        show_page.serve(wanted.memory, host=wanted.host, port=wanted.port)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
