"""Draws the gallery in README.md anew, from the runs under results/."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags as absl_flags

from dgm_tf.errors import InputError
from trainers import command, flags

PROGRAM = "python -m trainers.gallery"


def define() -> absl_flags.FlagValues:
    """The flags of this command: --help alone."""
    return absl_flags.FlagValues()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    return command.guarded(lambda: _draw(arguments))


def _draw(arguments: Sequence[str]) -> None:
    values = define()
    if flags.asks_for_help(arguments):
        raise flags.HelpAsked(flags.help_text(values, {}, about=__doc__, usage=PROGRAM))
    if left_over := flags.read(values, arguments, program=PROGRAM):
        raise InputError(f"expected no argument, received {left_over[0]!r}")

    from dgm_tf.reporting.gallery import write_gallery

    for path in write_gallery(Path(__file__).parents[1]):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
