"""Draws anew what README.md and docs/accuracy.md show of the runs under results/."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags

from trainers import command, flags


def define() -> flags.CommandFlags:
    """The flags of this command: --help alone."""
    return flags.CommandFlags(absl_flags.FlagValues(), {})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.carried_out("gallery", define(), _draw, __doc__, arguments, "stopped")


def _draw() -> None:
    from dgm_tf.reporting.gallery import write_gallery

    for path in write_gallery(Path(__file__).parents[1]):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
