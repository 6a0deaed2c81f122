"""The page of one run."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dgm_tf.reporting import figures, html, numbers, report, sections
from dgm_tf.reporting.numbers import Group
from dgm_tf.reporting.run import Run, read_run
from dgm_tf.storage.files import write_atomically

PAGE = "report.html"

_REAL, _GENERATED = "average_accuracy", "oracle_accuracy"


def write_page(folder: str | Path, out: str | Path | None = None) -> Path:
    """Writes the page of a run, finished or not, and returns its path.

    Args:
        folder: the run's.
        out: the page's path; `report.html` in the run's folder unless given.

    Raises:
        InputError: there is no run, its files are damaged, or the folder cannot be written.
    """
    path = Path(out or Path(folder) / PAGE)
    write_atomically(path, run_page(read_run(folder)).encode())
    return path


def run_page(run: Run) -> str:
    """The page as HTML that needs nothing beside it."""
    seed = "" if run.seed is None else f", seed {run.seed}"
    title = f"{run.method} on {run.dataset}{seed}"
    opening = [html.paragraph(run.scenario), html.paragraph(_progress(run), quiet=True)]
    if not run.rows:
        return html.document(title, [*opening, _how_it_was_run(run)])
    group = Group(run.method, (run,))
    return html.document(
        title,
        [
            *opening,
            html.tiles(_key_figures(run)),
            _accuracy(run, group),
            _samples(run),
            sections.growth([group]),
            sections.masks([group]),
            sections.within_tasks([group]),
            _cost(run, group),
            _how_it_was_run(run),
        ],
    )


def _progress(run: Run) -> str:
    learnt = len(run.rows)
    if not learnt:
        return f"No task of {run.tasks} is finished yet."
    how_far = f"{learnt} of {run.tasks} tasks learnt. " if learnt < run.tasks else ""
    return (
        f"{how_far}One run with one seed (n = 1): another seed gives other numbers, and a bend of "
        "a curve may be this seed's alone."
    )


def _key_figures(run: Run) -> list[tuple[str, str]]:
    last = run.rows[-1]
    task = last["task"]
    values = [(_share(last.get(_REAL)), f"A{task}, accuracy on real test images")]
    if last.get(_GENERATED) is not None:
        values.append((_share(last[_GENERATED]), f"G{task}, oracle on generated images"))
    if last.get("forgetting") is not None:
        values.append((_share(last["forgetting"]), "forgetting, mean over earlier classes"))
    grown = numbers.growth(run.rows)
    if grown:
        (_, units), (_, worst) = grown[0].units[-1], grown[0].worst[-1]
        values.append((f"{100 * units / worst:.0f} %", "generator's units, of the worst case"))
    verdicts = _verdicts(run)
    if verdicts:
        same = sum(verdict.startswith("identical") for verdict in verdicts.values())
        values.append((f"{same} of {len(verdicts)}", "earlier tasks whose images are identical"))
    seconds = [row.get("seconds") for row in run.rows]
    if None not in seconds:
        values.append((report.duration(sum(seconds)), "learning, all tasks"))
    return values


def _verdicts(run: Run) -> dict[int, str]:
    """The audit's verdict on each earlier task; empty for a run that audits nothing."""
    if not any(row.get("audit_pixels") or row.get("audit") for row in run.rows):
        return {}
    return {row["task"]: report.audit_verdict(row["task"], run.rows) for row in run.rows[:-1]}


def _accuracy(run: Run, group: Group) -> str:
    paper = sections.published_beside(run)
    curves = []
    for style, (key, name) in enumerate(((_REAL, "A_t"), (_GENERATED, "G_t"))):
        points = numbers.percent(numbers.curve(run.rows, key))
        theirs = sorted(paper.percent.items()) if paper and paper.key == key else ()
        if points or theirs:
            named = f"{name} in the paper"
            curves.append(
                sections.line(name, [points], style=style, published=theirs, published_name=named)
            )
    told = (
        "A_t: the learner's classifier on the real test images of all classes seen, mean over "
        "classes."
    )
    if numbers.curve(run.rows, _GENERATED):
        told += " G_t: a classifier trained on real images, on generated ones."
    beside = ""
    if paper:
        beside = f" Diamonds: {paper.method} in the paper's Table 1."
    drawn = figures.lines(curves, ylabel="accuracy (%)")
    return html.section(
        "Accuracy",
        html.side_by_side(
            html.figure(drawn, "accuracy", f"{told} Last epoch, n = 1.{beside}"),
            *itertools.chain(*sections.matrices([group])),
            wide=True,
        ),
        _accuracy_table(run),
    )


def _accuracy_table(run: Run) -> str:
    columns = {
        "A_t": _REAL,
        "G_t": _GENERATED,
        "forgetting": "forgetting",
        "BWT": "backward_transfer",
    }
    columns = {
        name: key
        for name, key in columns.items()
        if any(row.get(key) is not None for row in run.rows)
    }
    header = ["task", "new classes", *columns, "lowest class", "newest predicted", "in test"]
    lines = []
    for row in run.rows:
        lowest = min(row["class_accuracy"], key=row["class_accuracy"].__getitem__)
        newest = row.get("newest_class_share") or {}
        lines.append(
            [
                str(row["task"]),
                ", ".join(run.class_name(label) for label in row.get("classes", ())),
                *(_share(row.get(key)) for key in columns.values()),
                f"{_share(row['class_accuracy'][lowest])} (class {lowest})",
                *(_share(newest.get(of)) for of in ("predictions", "test_set")),
            ]
        )
    note = (
        'Forward transfer is n/a: a single head has no output for a class before it comes. "Newest '
        'predicted" far above "in test" means that whatever looks real is taken for the newest '
        "classes."
    )
    return html.table(header, lines) + html.paragraph(note, quiet=True)


def _samples(run: Run) -> str:
    newest = len(run.rows)
    now = run.samples(newest)
    if not now:
        return ""
    verdicts = _verdicts(run)
    as_learnt = {task: run.samples(task) for task in range(1, newest)}
    told = (
        "Generated from the same noise right after the class was learnt and after the last task. "
        "The audit compares other, fixed images of each task, bit by bit, after every later task."
    )
    # Said once where it is so of all, as in a run of which only the last pictures were kept.
    none_kept = newest > 1 and not any(as_learnt.values())
    if none_kept:
        told += " The pictures drawn when earlier classes were learnt are not in the folder."
    pieces = []
    for row in run.rows:
        task = row["task"]
        then = as_learnt.get(task, {})
        for label in (int(label) for label in row.get("classes", ())):
            if label not in now:
                continue
            strips = [("now", now[label])]
            verdict = verdicts.get(task, "")
            note = f"audit: {verdict}" if verdict else ""
            if task == newest:
                strips, note = [("as learnt", now[label])], "the newest task"
            elif label in then:
                strips.insert(0, ("as learnt", then[label]))
            elif not none_kept:
                note += "; the pictures drawn when it was learnt are not in the folder"
            title = f"class {run.class_name(label)}, task {task}"
            bad = bool(verdict) and not verdict.startswith("identical")
            pieces.append(html.samples(title, strips, note.removeprefix("; "), bad=bad))
    return html.section(
        "What the generator draws",
        html.paragraph(told, quiet=True),
        html.gallery(pieces),
    )


def _cost(run: Run, group: Group) -> str:
    lines = [
        [str(row["task"]), *(_plain(row.get(key)) for key in ("epochs", "steps"))]
        + [
            _duration(row.get("seconds")),
            _duration(row.get("evaluation_seconds")),
            _plain(row.get("peak_memory_mib")),
            _plain(row.get("generator_parameters")),
        ]
        for row in run.rows
    ]
    header = ["task", "epochs", "steps", "learning", "evaluation", "peak MiB", "parameters"]
    return html.section("Time and memory", sections.cost([group]), html.table(header, lines))


def _how_it_was_run(run: Run) -> str:
    """The command, and everything else needed to run it again."""
    described = run.description
    versions = described.get("versions") or {}
    facts = [
        ("data", run.stream.get("source", "not recorded")),
        ("fingerprint of the images", run.stream.get("fingerprint", "not recorded")),
        ("seed", run.seed),
        *([("generators taken from", run.memory_of)] if run.memory_of else ()),
        ("date", described.get("date", "not recorded")),
        ("machine", _machine(described.get("machine") or {})),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    return html.section(
        "What was run, and how to run it again",
        html.command(described["command"]) if described.get("command") else "",
        html.table([], [(name, str(value)) for name, value in facts], numbers=False),
        html.settings((name, _plain(value)) for name, value in run.settings.items()),
    )


def _machine(machine: Mapping[str, Any]) -> str:
    if not machine:
        return "not recorded"
    gpus = ", ".join(machine.get("gpus") or ()) or "none"
    cores, cpu, memory = (machine.get(key, "?") for key in ("cores", "cpu", "memory_gib"))
    onednn = "" if machine.get("onednn") is None else f", oneDNN {_plain(machine['onednn'])}"
    return f"{cores} cores, {cpu}{onednn}, {memory} GiB, GPUs: {gpus}"


def _share(value: float | None) -> str:
    """0 to 1 as percent; "n/a" for None."""
    return "n/a" if value is None else f"{100 * value:.2f} %"


def _duration(seconds: float | None) -> str:
    return "n/a" if seconds is None else report.duration(seconds)


def _plain(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
