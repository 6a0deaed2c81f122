"""What `python -m trainers.report` does."""

import dataclasses

from dgm_tf.errors import InputError
from dgm_tf.reporting import comparison, report
from dgm_tf.reporting.page import write_page
from dgm_tf.reporting.run import Run, read_runs
from dgm_tf.runs.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        runs: folders of runs, at least one.
        text: the tables instead of a page.
        figure: one of `dgm_tf.reporting.FIGURES` instead of a page.
        out: where the page or the figure goes; None for the places that `show` names.
    """

    runs: tuple[str, ...]
    text: bool = False
    figure: str | None = None
    out: str | None = None


def show(request: Request) -> str:
    """Does what is asked for and returns what is to be printed: tables, or the files written.

    The page of one run goes to its folder, that of several to the folder they share; a figure
    takes its kind's name, in the present folder.

    Raises:
        InputError: no run is named, a folder holds none, or a file cannot be written.
    """
    if not request.runs:
        raise InputError("expected one RUN or more, folders that trainers have written; none came")
    if request.text and (request.figure or request.out):
        raise InputError("expected --text alone, it writes no file; leave out --figure and --out")
    if request.text:
        return "\n\n\n".join(_tables(run) for run in read_runs(request.runs))
    if request.figure:
        out = request.out or request.figure
        written = comparison.write_figure(request.figure, request.runs, out)
    elif len(request.runs) == 1:
        written = [write_page(request.runs[0], request.out)]
    else:
        out = request.out or comparison.common_page(request.runs)
        written = [comparison.write_comparison(request.runs, out)]
    return "\n".join(map(str, written))


def _tables(run: Run) -> str:
    samples = RunFolder(run.path).samples
    pictures = f"{samples}/" if samples.is_dir() else None
    return f"{run.path}\n" + report.run_report(run.rows, scenario=run.scenario, pictures=pictures)
