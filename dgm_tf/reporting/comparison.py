"""The page that sets several runs side by side, and the figures over them."""

from collections.abc import Sequence
from pathlib import Path

from dgm_tf.errors import InputError
from dgm_tf.reporting import figures, html, numbers, report, sections
from dgm_tf.reporting.numbers import Group, Spread, with_spread
from dgm_tf.reporting.page import PAGE
from dgm_tf.reporting.run import Run, read_runs
from dgm_tf.storage.files import write_atomically

_MEASURES = {
    "average_accuracy": ("A", "A_t: accuracy on real test images"),
    "oracle_accuracy": ("G", "G_t: oracle on generated images"),
}
_HOW = (
    "Runs of one method that differ in nothing but the seed are taken together; n is their number. "
    "Lines, bars and tables of colours are means over them, as far as all of them have come, small "
    "dots single runs; bands, whiskers and the numbers behind ± are one sample standard deviation. "
    "Where n = 1 there is no spread to show, and a difference may be "
    "the seed's alone."
)


def write_comparison(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Writes the page that compares the runs in `folders` to `out`, and returns its path.

    Raises:
        InputError: a folder holds no run, or the page cannot be written.
    """
    path = Path(out)
    write_atomically(path, comparison_page(read_runs(folders)).encode())
    return path


def common_page(folders: Sequence[str | Path]) -> Path:
    """Where a comparison goes unless it is told: beside the runs, in the folder they share."""
    parents = [Path(folder).resolve().parents for folder in folders]
    shared = [parent for parent in parents[0] if all(parent in other for other in parents)]
    return shared[0] / PAGE


def write_figure(kind: str, folders: Sequence[str | Path], out: str | Path) -> list[Path]:
    """Writes one figure over runs as PNG and SVG.

    Args:
        kind: one of `dgm_tf.reporting.FIGURES`.
        folders: the runs.
        out: the files' path; a suffix .png or .svg is taken off.

    Raises:
        InputError: a folder holds no run, none has what the figure shows, or a file cannot be
            written.
    """
    found = numbers.groups(read_runs(folders))
    if kind == "growth":
        drawn = sections.growth_figure(found)
    else:
        drawn = sections.accuracy_figure(found, "average_accuracy")
    if drawn is None:
        wanted = "a generator that grows" if kind == "growth" else "a finished task"
        raise InputError(f"expected runs with {wanted}, received {', '.join(map(str, folders))}")
    base = Path(out)
    if base.suffix in (".png", ".svg"):
        base = base.with_suffix("")
    files = {".png": figures.png_bytes(drawn), ".svg": figures.svg_bytes(drawn)}
    paths = []
    for suffix, content in files.items():
        paths.append(base.with_name(base.name + suffix))
        write_atomically(paths[-1], content)
    return paths


def comparison_page(runs: Sequence[Run]) -> str:
    """The page as HTML that needs nothing beside it."""
    found = numbers.groups(runs)
    data = " and ".join(dict.fromkeys(run.dataset for run in runs))
    return html.document(
        f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} on {data}",
        [
            *(html.paragraph(scenario) for scenario in dict.fromkeys(r.scenario for r in runs)),
            html.paragraph(_HOW, quiet=True),
            _summary(found),
            _curves(found),
            _last_classes(found),
            _samples(found),
            sections.growth(found),
            sections.masks(found),
            sections.within_tasks(found),
            _cost(found),
            _runs(found),
        ],
    )


def after_task(group: Group, key: str, task: int) -> Spread | None:
    """A quantity of the rows over the runs of a group; None unless all have it after that task."""
    values = [dict(numbers.curve(run.rows, key)).get(task) for run in group.runs]
    return None if None in values else numbers.spread(values)


def _summary(found: Sequence[Group]) -> str:
    last = max(numbers.common_tasks(group.runs) for group in found)
    tasks = sorted({task for task in (5, 10, last) if 0 < task <= last})
    keys = [key for key in _MEASURES if _anywhere(found, key)]
    header = ["method", "n", "tasks"]
    header += [f"{_MEASURES[key][0]}{task}" for key in keys for task in tasks]
    header += ["forgetting", "units", "of worst case", "memory audit", "the paper's"]
    rows = []
    for group in found:
        common = numbers.common_tasks(group.runs)
        cells = [group.name, str(len(group.runs)), f"{common} of {group.runs[0].tasks}"]
        for key in keys:
            cells += [with_spread(after_task(group, key, task), factor=100) for task in tasks]
        cells.append(with_spread(after_task(group, "forgetting", common), factor=100))
        units, share = _units(group, common)
        cells += [with_spread(units, digits=0), with_spread(share, factor=100, digits=0)]
        paper = sections.published_beside(group.runs[0])
        theirs = ", ".join(f"{value:.2f}" for value in paper.percent.values()) if paper else "n/a"
        if paper:
            letter = _MEASURES[paper.key][0]
            theirs += f" ({', '.join(f'{letter}{task}' for task in paper.percent)})"
        rows.append([*cells, _audit(group), theirs])
    note = (
        "Percent; units, their share of the worst case, and forgetting after the last task that "
        "all runs of a method have finished."
    )
    return html.section("Methods", html.table(header, rows), html.paragraph(note, quiet=True))


def _anywhere(found: Sequence[Group], key: str) -> bool:
    return any(numbers.curve(run.rows, key) for group in found for run in group.runs)


def _units(group: Group, task: int) -> tuple[Spread | None, Spread | None]:
    """The generator's units after a task, and their share, 0 to 1, of the worst case."""
    totals = [grown[0] for run in group.runs if (grown := numbers.growth(run.rows))]
    if len(totals) < len(group.runs):
        return None, None
    units = [dict(total.units)[task] for total in totals]
    worst = [dict(total.worst)[task] for total in totals]
    shares = [of / most for of, most in zip(units, worst, strict=True)]
    return numbers.spread(units), numbers.spread(shares)


def _audit(group: Group) -> str:
    verdicts = [
        report.audit_verdict(row["task"], run.rows)
        for run in group.runs
        if any(row.get("audit") for row in run.rows)
        for row in run.rows[:-1]
    ]
    if not verdicts:
        return "n/a"
    same = sum(verdict.startswith("identical") for verdict in verdicts)
    return f"{same} of {len(verdicts)} identical"


def _curves(found: Sequence[Group]) -> str:
    pieces = []
    for key, (_, what) in _MEASURES.items():
        if (drawn := sections.accuracy_figure(found, key)) is not None:
            caption = f"{what}, after each task. {sections.counts(found)}"
            pieces.append(html.figure(drawn, key, caption))
    rows = [pieces, *sections.matrices(found)]
    return html.section("Accuracy", *(html.side_by_side(*row, wide=True) for row in rows))


def _last_classes(found: Sequence[Group]) -> str:
    """Accuracy on each class after the last common task, mean over the runs of a method."""
    rows, labels = [], {}
    for group in found:
        common = numbers.common_tasks(group.runs)
        if not common:
            continue
        each = [numbers.by_class(run.rows[common - 1], "class_accuracy") for run in group.runs]
        shared = set.intersection(*map(set, each))
        means = {label: numbers.spread(run[label] for run in each) for label in sorted(shared)}
        labels |= {label: group.runs[0].class_name(label) for label in means}
        rows.append((f"{group.title}, task {common}", means))
    if not rows:
        return ""
    cells = [
        [name, *(with_spread(means.get(label), factor=100, digits=1) for label in sorted(labels))]
        for name, means in rows
    ]
    header = ["class", *(labels[label] for label in sorted(labels))]
    return html.section("Accuracy on each class (%)", html.table(header, cells))


def _samples(found: Sequence[Group]) -> str:
    """What the first run of each method draws of each class after its last task."""
    drawn, names = {}, {}
    for group in found:
        run = group.runs[0]
        for label, images in (run.samples(len(run.rows)) if run.rows else {}).items():
            drawn.setdefault(label, []).append((f"{group.name}", images))
            names[label] = run.class_name(label)
    pieces = [html.samples(f"class {names[label]}", drawn[label]) for label in sorted(drawn)]
    seeds = ", ".join(f"{group.name}: seed {group.runs[0].seed}" for group in found)
    note = html.paragraph(f"One run of each method (n = 1; {seeds}), as it is now.", quiet=True)
    return html.section("What the generators draw", note if pieces else "", html.gallery(pieces))


def _cost(found: Sequence[Group]) -> str:
    rows = []
    for group in found:
        common = numbers.common_tasks(group.runs)
        rows.append(
            [
                group.title,
                _learning_time(group, common),
                with_spread(_peak_memory(group, common), digits=0),
                with_spread(after_task(group, "generator_parameters", common), digits=0),
            ]
        )
    header = ["method", "learning", "peak MiB", "parameters"]
    note = "All tasks that all runs of a method have finished, the peak up to the last of them."
    return html.section(
        "Time and memory",
        sections.cost(found),
        html.table(header, rows),
        html.paragraph(note, quiet=True),
    )


def _peak_memory(group: Group, tasks: int) -> Spread | None:
    """MiB; a run that was continued has begun anew to look for its peak, so the highest counts."""
    each = [[row.get("peak_memory_mib") for row in run.rows[:tasks]] for run in group.runs]
    if not tasks or any(None in values for values in each):
        return None
    return numbers.spread(map(max, each))


def _learning_time(group: Group, tasks: int) -> str:
    """Of the first tasks together, mean and deviation over the runs; "n/a" unless all have it."""
    seconds = [run.learning_seconds(tasks) for run in group.runs]
    if not tasks or None in seconds:
        return "n/a"
    time = numbers.spread(seconds)
    deviation = "" if time.deviation is None else f" ± {report.duration(time.deviation)}"
    return f"{report.duration(time.mean)}{deviation}"


def _runs(found: Sequence[Group]) -> str:
    rows = [
        [
            group.name,
            str(run.seed),
            f"{len(run.rows)} of {run.tasks}",
            run.description.get("command") or "n/a",
        ]
        for group in found
        for run in group.runs
    ]
    header = ["method", "seed", "tasks", "command"]
    return html.section("The runs", html.table(header, rows, numbers=False))
