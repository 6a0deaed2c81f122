"""Shows runs: one page for one or several, one figure, or tables."""

import dataclasses
import sys
from collections.abc import Sequence

from dgm_tf.errors import InputError
from dgm_tf.experiments.options import MEMORY, option
from dgm_tf.reporting import FIGURES
from trainers import command
from trainers.flags import Flags


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of this command."""

    memory: str | None = option(f"{MEMORY}; the same as RUN", default=None, shown="DIR")
    text: bool = option(
        "print the tables of each RUN and, of several, one that compares them; write no file",
        default=False,
    )
    figure: str | None = option(
        "only one figure of all runs, as PNG and SVG: growth (the paper's Figure 2) or accuracy",
        default=None,
        choices=tuple(FIGURES),
    )
    out: str | None = option(
        "file to write; by default RUN/report.html, for several runs report.html in the folder "
        "that they share, for a figure its name",
        default=None,
        shown="PATH",
    )


def define() -> Flags:
    """The flags of this command."""
    examples = ("--memory=pets", "runs/digits-10/*/seed0 --out=compared.html", "--text runs/mine")
    return Flags("report", __doc__, examples=examples, others="RUN").add("Flags", Options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    with command.outcome() as outcome:
        given = define().parse(arguments)
        wanted = given.of(Options)
        if not (runs := (*([wanted.memory] if wanted.memory else []), *given.others)):
            raise InputError("expected one RUN or more, folders that trainers have written")
        if wanted.text and (wanted.figure or wanted.out):
            raise InputError("expected --text only, it writes no file: leave out the others")
        from dgm_tf.reporting import comparison, page, tables
        from dgm_tf.reporting.run import read_runs

        if wanted.text:
            found = read_runs(runs)
            texts = [f"{run.path}\n{tables.run_report(run)}" for run in found]
            if len(found) > 1:
                texts.append(comparison.as_text(found))
            print("\n\n\n".join(texts), flush=True)
        elif wanted.figure:
            written = page.write_figure(wanted.figure, runs, wanted.out or wanted.figure)
            print(*written, sep="\n", flush=True)
        else:
            print(page.write_page(*runs, out=wanted.out), flush=True)
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
