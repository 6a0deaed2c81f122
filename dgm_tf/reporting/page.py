"""The page of one run or of several, and the figures on it.

Runs of one method that differ in nothing but their seed are a group. Curves, bars and tables of
colours are means over a group with one standard deviation; a single run is a group of one.
"""

import base64
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import numpy as np
from matplotlib.figure import Figure

from dgm_tf.errors import InputError
from dgm_tf.reporting import FIGURES, figures, numbers, pictures, tables
from dgm_tf.reporting.numbers import ALL_LAYERS, Curve, Group
from dgm_tf.reporting.run import Row, Run, read_runs
from dgm_tf.storage.files import write_atomically

PAGE = "report.html"

# Logged quantities as people know them and their units; any other goes by its own name.
QUANTITIES = {
    "critic_loss": ("critic loss, E[D(fake)] - E[D(real)]", "score"),
    "generator_loss": ("generator loss, -E[D(fake)]", "score"),
    "class_loss": ("critic's cross-entropy", "nats"),
    "penalty": ("gradient penalty", "penalty"),
    "protection": ("generator's loss that keeps old classes", "loss"),
    "sample_spread": ("spread of generated images over a batch", "on a scale from -1 to 1"),
    "old_as_newest": ("old images taken for the newest classes", "fraction, 0 to 1"),
    "mask_sparsity": ("mask sparsity R (Eq. 5)", "fraction, 0 to 1"),
    "classifier_loss": ("classifier's cross-entropy", "nats"),
    "classifier_accuracy": ("classifier on its training batches", "fraction, 0 to 1"),
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
    if out is None and len(runs) == 1:
        out = runs[0].path / PAGE
    elif out is None:
        out = Path(os.path.commonpath([run.path.resolve().parent for run in runs]), PAGE)
    write_atomically(out, page_of(runs).encode())
    return Path(out)


def write_figure(kind: str, folders: Sequence[str | Path], out: str | Path) -> list[Path]:
    """Writes one figure over runs as PNG and SVG.

    Args:
        kind: one of `dgm_tf.reporting.FIGURES`.
        folders: the runs'.
        out: the files' path; a suffix .png or .svg is taken off.

    Raises:
        InputError: a folder holds no run, none has what the figure shows, or a file cannot be
            written.
    """
    groups = numbers.groups(read_runs(folders))
    figure = growth_figure(groups) if kind == "growth" else accuracy_figure(groups)
    if figure is None:
        names = ", ".join(map(str, folders))
        raise InputError(f"expected runs with {FIGURES[kind]}, received {names}")
    base = str(out).removesuffix(".png").removesuffix(".svg")
    files = {".png": figures.png_bytes(figure), ".svg": figures.svg_bytes(figure)}
    for suffix, content in files.items():
        write_atomically(base + suffix, content)
    return [Path(base + suffix) for suffix in files]


def page_of(runs: Sequence[Run]) -> str:
    """The page as HTML that needs nothing next to it."""
    groups = numbers.groups(runs)
    one = runs[0] if len(runs) == 1 else None
    datasets = " and ".join(dict.fromkeys(run.dataset for run in runs))
    seed = "" if one is None or one.seed is None else f", seed {one.seed}"
    return _template().render(
        title=f"{one.method if one else f'{len(runs)} runs'} on {datasets}{seed}",
        scenarios=list(dict.fromkeys(run.scenario for run in runs)),
        runs=runs,
        groups=groups,
        learnt=max(len(run.rows) for run in runs),
        methods=_methods(groups),
        accuracy=_in_rows(
            groups, [_accuracies(groups), *(matrices(groups, key) for key in _MATRICES)]
        ),
        samples=_samples(groups),
        growth=growth(groups),
        masks=masks(groups),
        epochs=within_tasks(groups),
        # A task of one class may have had nothing to train.
        epochs_missing=any(
            row.get("last_epoch") and not row.get("history") for run in runs for row in run.rows
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


# Tables.


def _methods(groups: Sequence[Group]) -> tables.Table:
    """A row per method."""
    besides = {"tasks": _tasks, "exact memories": _exact}
    if any(group.runs[0].published for group in groups):
        besides["the paper's A5, A10"] = tables.papers
    return tables.method_table(groups, besides)


def _tasks(group: Group) -> str:
    return f"{numbers.common_tasks(group.runs)} of {group.runs[0].tasks}"


def _exact(group: Group) -> str:
    """How many earlier tasks the audit finds identical."""
    verdicts = [text for run in group.runs for text in tables.audit_verdicts(run.rows).values()]
    same = sum(verdict.startswith("identical") for verdict in verdicts)
    return f"{same} of {len(verdicts)}" if verdicts else "n/a"


def _samples(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Generated images of each class, as its task left them and as they are now.

    Returns:
        By class in order of arrival its title, its strips (name, images) and notes (text, whether
        it is bad); of the first run of each group.
    """
    found: dict[int, dict[str, Any]] = {}
    for group in groups:
        run = group.runs[0]
        whose = f"{group.name}: " if len(groups) > 1 else ""
        newest = len(run.rows)
        now = run.samples(newest) if newest else {}
        verdicts = tables.audit_verdicts(run.rows)
        for row in run.rows if now else ():
            task, then = row["task"], run.samples(row["task"])
            for label in (label for label in row.get("classes", ()) if label in now):
                title = f"class {run.class_name(label)}, task {task}"
                entry = found.setdefault(label, {"title": title, "strips": [], "notes": []})
                if label in then:
                    entry["strips"].append((f"{whose}as learnt", then[label]))
                if task < newest:
                    entry["strips"].append((f"{whose}now", now[label]))
                verdict = verdicts.get(task)
                if verdict:
                    bad = not verdict.startswith("identical")
                    entry["notes"].append((f"{whose}audit: {verdict}", bad))
    return list(found.values())


# Figures.


def _in_rows(groups: Sequence[Group], rows: Sequence[list[Shown]]) -> Sequence[list[Shown]]:
    """Rows of figures where several methods stand next to each other, else a single one."""
    return rows if len(groups) > 1 else [[shown for row in rows for shown in row]]


def _accuracies(groups: Sequence[Group]) -> list[Shown]:
    return [
        Shown(figure, key.replace("_", "-"), f"{told} {_counts(groups)}")
        for key, told in _CURVES.items()
        if (figure := accuracy_figure(groups, key))
    ]


def accuracy_figure(groups: Sequence[Group], key: str = "average_accuracy") -> Figure | None:
    """An accuracy over tasks, with the paper's numbers; None where no run has it."""
    curves = _curves(groups, lambda rows: numbers.curve(rows, key, factor=100))
    published = {
        group.title: (f"{group.runs[0].method} in the paper", sorted(paper.percent.items()))
        for group in groups
        if (paper := group.runs[0].published) and paper.key == key
    }
    if not any(map(any, curves.values())):
        return None
    return figures.lines(curves, ylabel="accuracy (%)", published=published, limits=(0, 100))


def _curves(
    groups: Sequence[Group], of: Callable[[Sequence[Row]], Curve]
) -> dict[str, list[Curve]]:
    """Something of each run's rows, by the title of its group."""
    return {group.title: [of(run.rows) for run in group.runs] for group in groups}


def _each(
    groups: Sequence[Group],
    name: str,
    told: str,
    make: Callable[[Group], Figure | None],
    dense: bool = False,
) -> list[Shown]:
    """A figure per group that has one, with a caption that says whose it is and n."""
    shown = []
    for index, group in enumerate(groups):
        if (figure := make(group)) is not None:
            whose = f"{group.name}. " if len(groups) > 1 else ""
            n = len(group.runs)
            mean = "n = 1." if n == 1 else f"Mean over n = {n} runs."
            shown.append(Shown(figure, f"{name}-{index}", f"{whose}{told} {mean}", dense))
    return shown


def matrices(groups: Sequence[Group], key: str) -> list[Shown]:
    """Accuracy of each class after each task, a figure per group that has it."""
    means = {group.name: _mean_matrix(group, key) for group in groups}
    values = np.concatenate([mean.ravel() for mean in means.values()])
    if np.isnan(values).all():
        return []
    # The same colours in all of them, so that they compare.
    limits = numbers.range_below_100(values)

    def matrix(group: Group) -> Figure | None:
        mean = means[group.name]
        if np.isnan(mean).all():
            return None
        tasks = len(mean)
        orders = {tuple(numbers.accuracy_matrix(run.rows[:tasks])[0]) for run in group.runs}
        names = [str(place + 1) for place in range(mean.shape[1])]
        xlabel = "class, by its place in the order of arrival"
        if len(orders) == 1:
            names = [group.runs[0].class_name(label) for label in orders.pop()]
            xlabel = "class"
        return figures.heat_map(
            mean, columns=names, xlabel=xlabel, scale="accuracy (%)", limits=limits
        )

    return _each(groups, key.replace("_", "-"), _MATRICES[key], matrix, dense=True)


def _mean_matrix(group: Group, key: str) -> np.ndarray:
    tasks = numbers.common_tasks(group.runs)
    found = [numbers.accuracy_matrix(run.rows[:tasks], key)[1] for run in group.runs]
    return np.mean(found, axis=0)


def growth_figure(groups: Sequence[Group], layer: str = ALL_LAYERS) -> Figure | None:
    """The paper's Figure 2, of the whole generator or of a layer: units against the worst case.

    Args:
        groups: a line each.
        layer: a name that `numbers.growth` gives.

    Returns:
        None where nothing grows.
    """
    curves = _curves(groups, lambda rows: numbers.growth(rows).get(layer, []))
    worst = {}
    for units in (units for each in curves.values() for units in each if units):
        initial, found = units[0], numbers.worst_case(units)
        worst[initial] = max(worst.get(initial, []), found, key=len)
    if not worst:
        return None
    whole = layer == ALL_LAYERS
    ylabel = "units of the generator" if whole else "units"
    title = "" if whole else layer
    return figures.lines(curves, ylabel=ylabel, title=title, worst=list(worst.values()))


def growth(groups: Sequence[Group]) -> list[Shown]:
    """Units of all layers together and of each by itself, a line per group."""
    counts = _counts(groups)
    layers = dict.fromkeys(
        name for group in groups for run in group.runs for name in numbers.growth(run.rows)
    )
    return [
        Shown(growth_figure(groups, layer), f"growth-{index}", f"Units of {layer}. {counts}")
        for index, layer in enumerate(layers)
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
        *_each(groups, "masks", use, _mask_use),
        *_each(groups, "overlap", overlap, _mask_overlap, dense=True),
    ]


def _mask_use(group: Group) -> Figure | None:
    parts = numbers.mean_curves([numbers.mask_use(run.rows) for run in group.runs])
    if not parts:
        return None
    if group.runs[0].settings.get("variant") == "a":
        return figures.bars(parts, ylabel="units")
    return figures.bars(parts, ylabel="weights (thousand)", unit=1000)


def _mask_overlap(group: Group) -> Figure | None:
    tasks = numbers.common_tasks(group.runs)
    shared = [numbers.mask_overlap(run.rows[:tasks]) for run in group.runs]
    if any(table is None for table in shared):
        return None
    return figures.heat_map(
        np.mean(shared, axis=0),
        columns=[str(task) for task in range(1, tasks + 1)],
        xlabel="used by task, too",
        ylabel="of the mask of task",
        scale="fraction of the mask (%)",
        limits=(0.0, 100.0),
    )


def within_tasks(groups: Sequence[Group]) -> list[list[Shown]]:
    """Each logged quantity over the epochs of each task, a figure per group.

    Returns:
        A row for each quantity, or a single one where there is one group.
    """
    means = {
        group.name: numbers.mean_curves([numbers.within_tasks(run.rows) for run in group.runs])
        for group in groups
    }

    def over_epochs(group: Group, name: str) -> Figure | None:
        if name not in means[group.name]:
            return None
        title, unit = QUANTITIES.get(name, (name.replace("_", " "), "value"))
        tasks = numbers.common_tasks(group.runs)
        return figures.within_tasks(means[group.name][name], tasks, title=title, ylabel=unit)

    rows = []
    for number, name in enumerate(dict.fromkeys(name for each in means.values() for name in each)):
        told = f"{name}, mean over the steps of an epoch."
        make = functools.partial(over_epochs, name=name)
        rows.append(_each(groups, f"epochs-{number}", told, make))
    return _in_rows(groups, rows)


def cost(groups: Sequence[Group]) -> list[Shown]:
    """The time of each task, a figure per group, and memory and parameters of all."""
    time = "Wall-clock time of each task on the run's own machine."
    memory = "Peak memory of the process up to the end of each task."
    parameters = "Parameters of the generator after each task."
    return [
        *_each(groups, "times", time, _times),
        *_over_tasks(groups, "peak_memory_mib", "MiB", memory),
        *_over_tasks(groups, "generator_parameters", "parameters (thousand)", parameters, 1e-3),
    ]


def _times(group: Group) -> Figure | None:
    """What the time of each task was spent on, where every task says it."""
    kinds = {"learning": "seconds", "evaluation": "evaluation_seconds"}
    parts = {}
    for name, key in kinds.items():
        each = [numbers.curve(run.rows, key) for run in group.runs]
        if sum(map(len, each)) == sum(len(run.rows) for run in group.runs):
            parts[name] = numbers.mean_curve(each)
    return (
        figures.bars(parts, ylabel="minutes", unit=60, wide=False) if any(parts.values()) else None
    )


def _over_tasks(
    groups: Sequence[Group], key: str, ylabel: str, told: str, factor: float = 1
) -> Iterable[Shown]:
    """A quantity after each task, a line per group; nothing where no run has it."""
    curves = _curves(groups, lambda rows: numbers.curve(rows, key, factor=factor))
    if any(map(any, curves.values())):
        figure = figures.lines(curves, ylabel=ylabel, wide=False)
        yield Shown(figure, key.replace("_", "-"), f"{told} {_counts(groups)}")


def _counts(groups: Sequence[Group]) -> str:
    """How many runs are behind a figure of all groups."""
    sizes = sorted({len(group.runs) for group in groups})
    noun = "run" if sizes == [1] else "runs"
    return f"n = {', '.join(map(str, sizes))} {noun}{' per method' if len(groups) > 1 else ''}."
