"""Shows runs: a page of one or several, one figure over them, or their tables."""

import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from dgm_tf.errors import InputError
from dgm_tf.reporting import FIGURES
from trainers import command, flags


def define() -> flags.CommandFlags:
    """The flags of this command."""
    values = absl_flags.FlagValues()
    text = "print the tables of each RUN and write nothing"
    flags.define_boolean(values, "text", False, text)
    text = (
        "write one figure over the runs, as PNG and SVG: growth (the paper's Figure 2) or accuracy"
    )
    absl_flags.DEFINE_enum("figure", None, list(FIGURES), text, values)
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
    if not runs:
        raise InputError("expected one RUN or more, folders that trainers have written; none came")
    if text and (figure or out):
        raise InputError("expected --text alone, it writes no file; leave out --figure and --out")
    from dgm_tf.reporting import page, tables
    from dgm_tf.reporting.run import read_runs

    if text:
        print("\n\n\n".join(map(tables.report_of, read_runs(runs))), flush=True)
    elif figure:
        print(*page.write_figure(figure, runs, out or figure), sep="\n", flush=True)
    else:
        print(page.write_page(*runs, out=out), flush=True)


if __name__ == "__main__":
    sys.exit(main())
