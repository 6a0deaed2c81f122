"""Shows runs: a page of one run, a page that compares several, one figure, or their tables."""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from dgm_tf.reporting import FIGURES
from trainers import command, flags


def define() -> flags.CommandFlags:
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
    return flags.CommandFlags(values, {"Flags": tuple(values)}, others="runs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return command.carried_out("report", define(), _show, __doc__, arguments, "stopped")


def _show(*, runs: tuple[str, ...], text: bool, figure: str | None, out: str | None) -> None:
    from dgm_tf.reporting.show import Request, show

    print(show(Request(runs, text, figure, out)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
