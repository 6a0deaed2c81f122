"""What README.md and docs/accuracy.md show of the runs kept under `results/`."""

import os
import re
from pathlib import Path

from dgm_tf.errors import InputError
from dgm_tf.reporting import (
    dissections,
    figures,
    goals,
    numbers,
    relearnings,
    sections,
    table,
    variations,
)
from dgm_tf.reporting.numbers import Group
from dgm_tf.reporting.run import Run, read_run
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage.files import write_atomically

BEGIN, END = "<!-- gallery:begin -->", "<!-- gallery:end -->"
TABLE_BEGIN, TABLE_END = "<!-- results:begin -->", "<!-- results:end -->"

PAGE = "docs/accuracy.md"
RUNS_BEGIN, RUNS_END = "<!-- runs:begin -->", "<!-- runs:end -->"

# Runs that are not to be in README.md's table, of the same form.
_OTHERS = "results/accuracy"
_FOLDER = "docs/gallery"


def write_gallery(root: str | Path) -> list[Path]:
    """Draws the gallery's figures and puts what is made of runs between its marks.

    That is the gallery and the table in README.md, and in docs/accuracy.md, where there is one, a
    table of DGM and joint training by today's defaults, how near DGM comes to joint training, and
    what taking runs apart and learning their tasks again has shown.

    Args:
        root: the repository, with `README.md` and `results/<stream>/<learner>/<seed>/`.

    Returns:
        The files written.

    Raises:
        InputError: the marks are missing, or a file cannot be read or written.
    """
    root = Path(root)
    readme, page = root / "README.md", root / PAGE
    text = readme.read_text(encoding="utf-8")
    for marks, new in ((BEGIN, END), markdown(root)), ((TABLE_BEGIN, TABLE_END), tables(root)):
        text = between_marks(readme, text, marks, new)
    drawn = pictures(root)
    for path, svg in drawn.items():
        write_atomically(root / path, svg)
    write_atomically(readme, text.encode())
    written = [*(root / path for path in drawn), readme]
    if page.exists():
        text = page.read_text(encoding="utf-8")
        for marks, new in page_parts(root).items():
            text = between_marks(page, text, marks, new)
        write_atomically(page, text.encode())
        written.append(page)
    return written


def page_parts(root: str | Path) -> dict[tuple[str, str], str]:
    """What stands in docs/accuracy.md, by the marks that it stands between."""
    results = Path(root) / "results"
    runs = table.finished_runs(results, Path(root) / _OTHERS)
    todays = [run for run in runs if _is_todays(run)]
    return {
        (RUNS_BEGIN, RUNS_END): table.markdown(todays),
        (goals.BEGIN, goals.END): goals.markdown(todays),
        (variations.BEGIN, variations.END): variations.markdown(variations.runs(results)),
        (dissections.BEGIN, dissections.END): dissections.markdown(results),
        (relearnings.BEGIN, relearnings.END): relearnings.markdown(results),
    }


def _is_todays(run: Run) -> bool:
    """Whether it is DGM or joint training by the settings that it would have today."""
    return run.learner in ("joint", "dgm-w", "dgm-a") and not variations.changes(run)


def pictures(root: str | Path) -> dict[str, bytes]:
    """The gallery's figures as SVG files, by their paths in the repository."""
    found = {}
    for name, groups in _streams(Path(root)).items():
        drawn = {
            "accuracy": sections.accuracy_figure(groups, "average_accuracy"),
            "growth": sections.growth_figure(groups),
        }
        for kind, figure in drawn.items():
            if figure is not None:
                found[_figure(name, kind)] = figures.svg_bytes(figure)
    return found


def markdown(root: str | Path) -> str:
    """The gallery as it stands in README.md, without its marks and without drawing anything."""
    root = Path(root)
    parts = []
    for name, found in _streams(root).items():
        parts.append(f"**{found[0].runs[0].scenario}**")
        kinds = ["accuracy"]
        if sections.growth_figure(found) is not None:
            kinds.append("growth")
        alts = {
            "accuracy": "accuracy on real test images after each task",
            "growth": "units of the generator after each task, against the worst case",
        }
        parts.append(
            "\n".join(
                f'<img src="{_figure(name, kind)}" width="48%" alt="{name}: {alts[kind]}">'
                for kind in kinds
            )
        )
        parts += [_samples(root, group) for group in found]
    return "\n\n".join(filter(None, parts))


def tables(root: str | Path) -> str:
    """The table of results as it stands in README.md, without its marks."""
    return table.markdown(table.finished_runs(Path(root) / "results"))


def _streams(root: Path) -> dict[str, list[Group]]:
    """Groups of runs with a finished task, by the folder under `results/` that they stand in."""
    streams = {}
    for settings in sorted((root / "results").glob("*/*/*/settings.json")):
        run = read_run(settings.parent)
        if run.rows:
            streams.setdefault(settings.parts[-4], []).append(run)
    return {name: numbers.groups(runs) for name, runs in streams.items()}


def _figure(stream: str, kind: str) -> str:
    return f"{_FOLDER}/{stream}-{kind}.svg"


def _samples(root: Path, group: Group) -> str:
    """The pictures that the first run of a method has drawn last."""
    run = group.runs[0]
    path = RunFolder(run.path).sample_file(len(run.rows))
    if not path.is_file():
        return ""
    shown = Path(os.path.relpath(path, root)).as_posix()
    title = f"{group.name}, seed {run.seed} (n = 1), after task {len(run.rows)}"
    return f'{title}, generated:\n\n<img src="{shown}" width="60%" alt="{title}, ten of a class">'


def between_marks(path: Path, text: str, marks: tuple[str, str], new: str) -> str:
    """A text with something new between its two marks.

    Raises:
        InputError: they are not there once each; `path` is where the text is from.
    """
    begin, end = marks
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.S)
    if len(pattern.findall(text)) != 1:
        raise InputError(f"expected the marks {begin} and {end} once in {path}; put them in")
    return pattern.sub(lambda match: f"{match[1]}{new}\n{match[2]}", text)
