"""The page of one run or of several, and the figures on it.

Runs of one method that differ in nothing but their seed are a group. Curves, bars and tables of
colours are means over a group with one standard deviation; a single run is a group of one.
"""

import base64
import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np
from matplotlib.figure import Figure

from dgm_tf import memories
from dgm_tf.errors import InputError
from dgm_tf.reporting import FIGURES, comparison, figures, numbers, pictures, tables
from dgm_tf.reporting.numbers import ALL_LAYERS, Curve, Group
from dgm_tf.reporting.run import Row, Run, read_runs
from dgm_tf.storage.files import output_file, write_atomically

PAGE = "report.html"
_MOST_TASKS = 40  # in figures with marks for each task: of more the last ones

_FRACTION = "fraction, 0 to 1"
# Logged quantities as people know them and their units; any other goes by its own name.
QUANTITIES = {
    "critic_loss": ("critic loss without its penalty", "loss"),
    "generator_loss": ("generator loss by the critic's scores", "loss"),
    "class_loss": ("critic's cross-entropy", "nats"),
    "penalty": ("gradient penalty", "penalty"),
    "protection": ("generator's loss that keeps old classes", "loss"),
    "sample_spread": ("spread of generated images over a batch", "on a scale from -1 to 1"),
    "old_as_newest": ("old images taken for the newest classes", _FRACTION),
    "mask_sparsity": ("mask sparsity R (Eq. 5)", _FRACTION),
    "classifier_loss": ("classifier's cross-entropy", "nats"),
    "classifier_accuracy": ("classifier on its training batches", _FRACTION),
}
_CURVES = {
    "average_accuracy": "A_t: accuracy on the real test images of all classes seen, mean over "
    "classes, after each task.",
    "oracle_accuracy": "G_t: accuracy of a classifier trained on real images, on generated ones.",
}
_MATRICES = {
    "class_accuracy": "Accuracy on the real test images of each class after each task, in percent. "
    "A column shows what becomes of a class.",
    "oracle_class_accuracy": "Accuracy of the oracle on the generated images of each class after "
    "each task, in percent.",
}


@dataclasses.dataclass(frozen=True)
class Shown:
    """A figure on the page.

    Attributes:
        figure: the figure.
        name: unique on the page.
        caption: plain text, also for those who cannot see the figure.
        dense: give it a least width, to be scrolled to on a phone.
    """

    figure: Figure
    name: str
    caption: str
    dense: bool = False

    @property
    def svg(self) -> markupsafe.Markup:
        return markupsafe.Markup(figures.inline_svg(self.figure, self.name))


def write_page(*folders: str | Path, out: str | Path | None = None) -> Path:
    """Writes the page of one run or several, finished or not, and returns its path.

    Args:
        folders: the runs'.
        out: the page's path; unless given `report.html`, in the folder of a single run, or in the
            folder that several share.

    Raises:
        InputError: a folder holds no run, its files are damaged, or the page cannot be written.
    """
    runs = read_runs(folders)
    if out is None:
        for folder in folders:
            memories.check_not_written(folder, "name a file for the page by --out")
        shared = os.path.commonpath([run.path.resolve().parent for run in runs])
        out = Path(runs[0].path if len(runs) == 1 else shared, PAGE)
    out = output_file(out)  # Drawing takes its time.
    write_atomically(out, page_of(runs).encode("utf-8", "backslashreplace"))
    return out


def write_figure(kind: str, folders: Sequence[str | Path], out: str | Path) -> list[Path]:
    """Writes one figure over runs as PNG and SVG.

    Args:
        kind: one of `dgm_tf.reporting.FIGURES`.
        folders: the runs'.
        out: the files' path, with the suffix .png or .svg, which is taken off, or without one.

    Raises:
        InputError: a folder holds no run, none has what the figure shows, or a file cannot be
            written.
    """
    file = output_file(out, endings=(".png", ".svg", ""))
    groups = numbers.groups(read_runs(folders))
    figure = growth_figure(groups) if kind == "growth" else accuracy_figure(groups)
    if figure is None:
        names = ", ".join(map(str, folders))
        raise InputError(f"expected runs with {FIGURES[kind]}, received {names}")
    return figures.write(figure, file.with_suffix(""))


def page_of(runs: Sequence[Run]) -> str:
    """The page as HTML that needs nothing next to it."""
    groups = numbers.groups(runs)
    datasets = " and ".join(dict.fromkeys(run.dataset for run in runs))
    title = f"{len(runs)} runs on {datasets}"
    if len(runs) == 1:
        title = f"{runs[0].method} on {datasets}, seed {runs[0].seed}"
    return _template().render(
        title=title,
        scenarios=list(dict.fromkeys(run.scenario for run in runs)),
        runs=runs,
        groups=groups,
        learnt=max(len(run.rows) for run in runs),
        many=_MOST_TASKS,
        methods=comparison.compared(groups),
        accuracy=accuracies(groups),
        samples=_samples(groups),
        growth=growth(groups),
        masks=masks(groups),
        epochs=within_tasks(groups),
        # A task of one class may have had nothing to train.
        epochs_missing=any(
            row["last_epoch"] and not row.get("history") for run in runs for row in run.rows
        ),
        cost=cost(groups),
    )


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": tables.plain, "uri": _uri, "strip": _strip}
    environment.globals |= {"tables": tables}
    return environment.get_template("page.html")


def _strip(images: np.ndarray) -> np.ndarray:
    """Images uint8 [N, H, W, 3] next to each other [H, N * W, 3]."""
    return np.concatenate(list(images), axis=1)


def _uri(pixels: np.ndarray) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(pictures.png(pixels)).decode()}"


def _samples(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Generated images of each class, as its task left them and as they are now.

    Returns:
        By class in order of arrival its title, its strips (name, images) and notes (text, whether
        it is bad); of the first run of each group.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    several_data = len({group.runs[0].dataset for group in groups}) > 1
    for group in groups:
        run = group.runs[0]
        newest = len(run.rows)
        now = run.samples(newest) if newest else {}
        verdicts = tables.audit_verdicts(run.rows)
        for row in run.rows:
            labels = [label for label in row["classes"] if label in now]
            task, then = row["task"], run.samples(row["task"]) if labels else {}
            for label in labels:
                title = f"class {run.class_name(label)}"
                if several_data:
                    title += f" of {run.dataset}"
                key = run.dataset, run.class_name(label)
                entry = found.setdefault(key, {"title": title, "strips": [], "notes": []})
                if label in then:
                    learnt = f"as learnt in task {task}"
                    entry["strips"].append((_of(group, groups, learnt), then[label]))
                if task < newest:
                    entry["strips"].append((_of(group, groups, "now"), now[label]))
                if task in verdicts:
                    bad = not verdicts[task].startswith("identical")
                    entry["notes"].append((_of(group, groups, f"audit: {verdicts[task]}"), bad))
    return list(found.values())


def _of(group: Group, groups: Sequence[Group], text: str, sign: str = ":") -> str:
    """A text with the name of the group in front where there are several."""
    return f"{group.name}{sign} {text}" if len(groups) > 1 else text


# Figures.


def _in_rows(groups: Sequence[Group], rows: Sequence[list[Shown]]) -> Sequence[list[Shown]]:
    """Rows of figures where several methods stand next to each other, else a single one."""
    return rows if len(groups) > 1 else [[shown for row in rows for shown in row]]


def _lines(
    groups: Sequence[Group], of: Callable[[Sequence[Row]], Curve], **options: Any
) -> Figure | None:
    """A line per group of a curve of each run's rows; None where no run has it."""
    curves = {group.title: [of(run.rows) for run in group.runs] for group in groups}
    if not any(map(any, curves.values())):
        return None
    return figures.lines(curves, learners=[group.runs[0].learner for group in groups], **options)


def _color(group: Group, groups: Sequence[Group]) -> str:
    """The colour that the group's lines have."""
    return figures.looks([each.runs[0].learner for each in groups])[groups.index(group)].color


def _of_all(groups: Sequence[Group], name: str, told: str, figure: Figure | None) -> list[Shown]:
    """The figure of all groups, if there is one, with a caption that says n."""
    sizes = sorted({len(group.runs) for group in groups})
    noun = "run" if sizes == [1] else "runs"
    n = f"n = {', '.join(map(str, sizes))} {noun}{' per method' if len(groups) > 1 else ''}."
    return [Shown(figure, name, f"{told} {n}")] if figure else []


def _each(
    groups: Sequence[Group],
    name: str,
    told: str,
    made: Sequence[Figure | None],
    dense: bool = False,
) -> list[Shown]:
    """The figures of the groups that have one, with captions that say whose they are and n."""
    shown = []
    for index, (group, figure) in enumerate(zip(groups, made, strict=True)):
        if figure is not None:
            n = len(group.runs)
            mean = "n = 1." if n == 1 else f"Mean over n = {n} runs."
            caption = _of(group, groups, f"{told} {mean}", sign=".")
            shown.append(Shown(figure, f"{name}-{index}", caption, dense))
    return shown


# Accuracy.


def accuracy_figure(groups: Sequence[Group], key: str = "average_accuracy") -> Figure | None:
    """An accuracy over tasks, with the paper's numbers; None where no run has it."""
    published = {
        group.title: (f"{group.runs[0].method} in the paper", sorted(paper.percent.items()))
        for group in groups
        if (paper := group.runs[0].published) and paper.key == key
    }
    of = functools.partial(numbers.curve, key=key, factor=100)
    return _lines(groups, of, ylabel="accuracy (%)", published=published, limits=(0, 100))


def accuracies(groups: Sequence[Group]) -> list[list[Shown]]:
    """Accuracies over tasks, and of each class after each task."""
    over_tasks = [
        shown
        for key, told in _CURVES.items()
        for shown in _of_all(groups, key.replace("_", "-"), told, accuracy_figure(groups, key))
    ]
    return _in_rows(groups, [over_tasks, *(matrices(groups, key) for key in _MATRICES)])


def matrices(groups: Sequence[Group], key: str) -> list[Shown]:
    """Accuracy of each class after each task, a figure per group that has it."""
    means = []
    for group in groups:
        each = [numbers.accuracy_matrix(run.rows[: group.learnt], key) for run in group.runs]
        means.append(np.mean([percent for _, percent in each], axis=0))
    made = [_matrix(group, mean) for group, mean in zip(groups, means, strict=True)]
    return _each(groups, key.replace("_", "-"), _MATRICES[key], made, dense=True)


def _matrix(group: Group, mean: np.ndarray) -> Figure | None:
    if np.isnan(mean).all():
        return None
    orders = {tuple(numbers.accuracy_matrix(run.rows[: len(mean)])[0]) for run in group.runs}
    names = [str(place + 1) for place in range(mean.shape[1])]
    xlabel = "class, by its place in the order of arrival"
    if len(orders) == 1:
        names = [group.runs[0].class_name(label) for label in orders.pop()]
        xlabel = "class"
    return figures.heat_map(mean, columns=names, xlabel=xlabel, scale="accuracy (%)")


# The generator.


def growth_figure(groups: Sequence[Group], layer: str = ALL_LAYERS) -> Figure | None:
    """The paper's Figure 2: units against the worst case, a line per group.

    Args:
        groups: those that stand in the figure.
        layer: a name that `numbers.growth` gives.

    Returns:
        None where nothing grows.
    """
    worst: dict[float, Curve] = {}  # by the initial units
    of: dict[float, list[Group]] = {}
    for group, run in ((each, run) for each in groups for run in each.runs):
        if units := numbers.growth(run.rows).get(layer):
            _, initial = units[0]
            worst[initial] = max(worst.get(initial, []), numbers.worst_case(units), key=len)
            of.setdefault(initial, []).append(group)
    if len(worst) == 1:
        named = {"worst case": (figures.MUTED, *worst.values())}
    else:
        named = {
            f"worst case of {', '.join(dict.fromkeys(group.name for group in of[initial]))}": (
                _color(of[initial][0], groups),
                points,
            )
            for initial, points in worst.items()
        }
    return _lines(
        groups,
        lambda rows: numbers.growth(rows).get(layer, []),
        ylabel=f"units of {'the generator' if layer == ALL_LAYERS else layer}",
        worst=named,
    )


def growth(groups: Sequence[Group]) -> list[Shown]:
    """Units of all layers together and of each by itself, a line per group."""
    layers = dict.fromkeys(
        name for group in groups for run in group.runs for name in numbers.growth(run.rows)
    )
    return [
        shown
        for index, name in enumerate(layers)
        for shown in _of_all(
            groups, f"growth-{index}", f"Units of {name}.", growth_figure(groups, name)
        )
    ]


def masks(groups: Sequence[Group]) -> list[Shown]:
    """Each group's use of weights or units by task, and the overlap of its masks."""
    use = (
        "What each task did with the generator's weights (variant w) or units (variant a): newly "
        "reserved, reused of earlier tasks, and left free before the generator grew."
    )
    overlap = (
        "Mask overlap: of all that the row's task uses, the fraction that the column's task uses "
        "too."
    )
    return [
        *_each(groups, "masks", use, [_mask_use(each, _color(each, groups)) for each in groups]),
        *_each(groups, "overlap", overlap, list(map(_mask_overlap, groups)), dense=True),
    ]


def _mask_use(group: Group, color: str) -> Figure | None:
    parts = numbers.mean_curves([numbers.mask_use(run.rows) for run in group.runs])
    if not parts:
        return None
    parts = {name: points[-_MOST_TASKS:] for name, points in parts.items()}
    if group.runs[0].settings.get("variant") == "a":
        return figures.bars(parts, ylabel="units", color=color)
    return figures.bars(parts, ylabel="weights (thousand)", unit=1000, color=color)


def _mask_overlap(group: Group) -> Figure | None:
    shared = [numbers.mask_overlap(run.rows[: group.learnt]) for run in group.runs]
    if any(table is None for table in shared):
        return None
    return figures.heat_map(
        np.mean(shared, axis=0),
        columns=[str(task) for task in range(1, group.learnt + 1)],
        xlabel="used by task, too",
        ylabel="of the mask of task",
        scale="fraction of the mask (%)",
    )


# Training.


def within_tasks(groups: Sequence[Group]) -> list[list[Shown]]:
    """Each logged quantity over the epochs of each task, a figure per group.

    Returns:
        A row for each quantity, or a single one where there is one group.
    """
    means = [
        numbers.mean_curves([numbers.within_tasks(rows) for rows in _last(group)])
        for group in groups
    ]
    rows = []
    for number, name in enumerate(dict.fromkeys(name for each in means for name in each)):
        title, unit = QUANTITIES.get(name, (name.replace("_", " "), "value"))
        made = [
            figures.within_tasks(
                each[name],
                group.learnt,
                first=max(1, group.learnt - _MOST_TASKS + 1),
                title=title,
                ylabel=unit,
                color=_color(group, groups),
                limits=(0, 1) if unit == _FRACTION else None,
            )
            if name in each
            else None
            for group, each in zip(groups, means, strict=True)
        ]
        told = f"{name}, mean over the steps of an epoch."
        rows.append(_each(groups, f"epochs-{number}", told, made))
    return _in_rows(groups, rows)


def _last(group: Group) -> list[Sequence[Row]]:
    """Rows of each run: of the last tasks that all have finished."""
    return [run.rows[: group.learnt][-_MOST_TASKS:] for run in group.runs]


def cost(groups: Sequence[Group]) -> list[Shown]:
    """The time of each task, a figure per group, and memory and parameters of all."""
    time = "Wall-clock time of each task on the run's own machine."
    of = functools.partial(numbers.curve, key="peak_memory_mib")
    memory = _lines(groups, of, ylabel="MiB", wide=False)
    of = functools.partial(numbers.curve, key="generator_parameters", factor=1e-3)
    parameters = _lines(groups, of, ylabel="parameters (thousand)", wide=False)
    of_memory = "Peak memory of the process up to the end of each task."
    of_parameters = "Parameters of the generator after each task."
    return [
        *_each(groups, "times", time, [_times(each, _color(each, groups)) for each in groups]),
        *_of_all(groups, "peak-memory-mib", of_memory, memory),
        *_of_all(groups, "generator-parameters", of_parameters, parameters),
    ]


def _times(group: Group, color: str) -> Figure | None:
    """The time of each task, and what it was spent on."""
    kinds = {"learning": "seconds", "evaluation": "evaluation_seconds"}
    parts = {
        name: numbers.mean_curve([numbers.curve(rows, key) for rows in _last(group)])
        for name, key in kinds.items()
    }
    if not group.learnt:
        return None
    return figures.bars(parts, ylabel="minutes", unit=60, wide=False, color=color)
