"""Shows runs: a page of one run, a page that compares several, one figure, or their tables."""

import os
import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from dgm_tf.reporting import FIGURES
from trainers import command, flags

PROGRAM = "python -m trainers.report"


def define() -> absl_flags.FlagValues:
    """The flags of this command."""
    values = absl_flags.FlagValues()
    text = "print the tables of each RUN and write nothing"
    flags.define_boolean(values, "text", False, text)
    text = (
        "draw one figure over the runs, as PNG and SVG: growth (the paper's Figure 2) or accuracy"
    )
    absl_flags.DEFINE_enum("figure", None, FIGURES, text, values)
    text = (
        "where to write: the page, RUN/report.html unless given, of several runs report.html in "
        "the folder they share; or the figure, named for its kind unless given"
    )
    flags.define_text(values, "out", None, text, shown="PATH")
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    return command.guarded(lambda: _show(arguments))


def _show(arguments: Sequence[str]) -> None:
    values = define()
    if flags.asks_for_help(arguments):
        usage = f"{PROGRAM} [--flag=value ...] RUN..."
        raise flags.HelpAsked(
            flags.help_text(values, {"Flags": values}, about=__doc__, usage=usage)
        )
    runs = flags.read(values, arguments, program=PROGRAM)

    from dgm_tf.reporting.show import Request, show

    try:
        print(show(Request(tuple(runs), values.text, values.figure, values.out)), flush=True)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; at its exit Python would write once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
