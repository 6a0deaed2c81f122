"""Shows runs: a page of one run, a page that compares several, one figure, or their tables."""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.experiments.options import option
from dgm_tf.reporting import FIGURES
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    text: bool = option("print the tables of each RUN and write nothing", default=False)
    figure: str | None = option(
        "only one figure over the runs, as PNG and SVG: growth (the paper's Figure 2) or accuracy",
        default=None,
        choices=tuple(FIGURES),
    )
    out: str | None = option(
        "where to write: the page, by default RUN/report.html, of several runs report.html in the "
        "folder they share; or the figure, by default named for its kind",
        default=None,
        shown="PATH",
    )


def define() -> Flags:
    """The flags of this command."""
    examples = ("runs/mine", "runs/digits-10/*/seed0 --out=compared.html", "--text runs/mine")
    return Flags("report", __doc__, examples=examples, others="RUN").add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome() as outcome:
        given = define().parse(arguments)
        wanted = given.of(Options)
        from dgm_tf.reporting.show import Request, show

        print(show(Request(given.others, **dataclasses.asdict(wanted))), flush=True)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
