"""Pieces that the page of one run and the page over several share.

They are made for groups: a method's runs, which differ in nothing but their seed. The page of one
run has one group of one run; over several runs curves are means with a band of one standard
deviation, bars are means with its whiskers, and tables of colours are means.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from dgm_tf.reporting import figures, html, numbers
from dgm_tf.reporting.numbers import Curve, Group
from dgm_tf.reporting.paper import Published, published
from dgm_tf.reporting.run import Run

# Logged quantities as people know them and their units; any other goes by its own name.
QUANTITIES = {
    "critic_loss": ("critic loss, E[D(fake)] - E[D(real)]", "score"),
    "generator_loss": ("generator loss, -E[D(fake)]", "score"),
    "class_loss": ("critic's cross-entropy", "nats"),
    "penalty": ("gradient penalty", "penalty"),
    "protection": ("what keeps the old classes, in the generator's loss", "loss"),
    "sample_spread": ("spread of generated images over a batch", "on a scale from -1 to 1"),
    "old_as_newest": ("replayed old images taken for the newest classes", "share, 0 to 1"),
    "mask_sparsity": ("mask sparsity R (Eq. 5)", "share, 0 to 1"),
    "classifier_loss": ("classifier's cross-entropy", "nats"),
    "classifier_accuracy": ("classifier on its training batches", "share, 0 to 1"),
}


def published_beside(run: Run) -> Published | None:
    """The paper's numbers for the run's method on its stream, if it has any."""
    classes = [len(task) for task in run.stream.get("task_classes", ())]
    return published(run.dataset, run.learner, classes)


def line(name: str, each: Sequence[Curve], *, style: int = 0, **besides) -> figures.Line:
    """The mean over runs, with a dot for each value where there are several.

    Args:
        name: for the legend.
        each: a curve per run.
        style: which of the colours and markers it takes.
        besides: further attributes of the line.
    """
    dots = [point for points in each for point in points] if len(each) > 1 else ()
    return figures.Line(name, numbers.mean_curve(each), dots=dots, style=style, **besides)


_MATRICES = {
    "class_accuracy": "Accuracy on the real test images of each class after each task, in percent. "
    "A column shows what becomes of a class.",
    "oracle_class_accuracy": "Accuracy of the oracle on the generated images of each class after "
    "each task, in percent.",
}


def matrices(groups: Sequence[Group]) -> list[list[str]]:
    """Figures of the accuracy of each class after each task, one per group that has it: first on
    real test images, then of the oracle on generated ones."""
    return [_matrices(groups, key, told) for key, told in _MATRICES.items()]


def _matrices(groups: Sequence[Group], key: str, told: str) -> list[str]:
    means = {}
    for index, group in enumerate(groups):
        tasks = numbers.common_tasks(group.runs)
        found = [numbers.accuracy_matrix(run.rows[:tasks], key) for run in group.runs]
        mean = numbers.mean_table([table for _, table in found])
        if not np.isnan(mean).all():
            means[index] = {tuple(classes) for classes, _ in found}, mean
    if not means:
        return []
    # The same colours in all of them, so that they compare.
    limits = numbers.range_below_100(np.concatenate([mean.ravel() for _, mean in means.values()]))
    pieces = []
    for index, (orders, mean) in means.items():
        group = groups[index]
        names = [str(place + 1) for place in range(mean.shape[1])]
        xlabel = "class, by its place in the order of arrival"
        if len(orders) == 1:
            names = [group.runs[0].class_name(label) for label in next(iter(orders))]
            xlabel = "class"
        drawn = figures.heat_map(
            mean, columns=names, xlabel=xlabel, scale="accuracy (%)", limits=limits
        )
        caption = _caption(told, group, groups)
        pieces.append(html.figure(drawn, f"{key.replace('_', '-')}-{index}", caption, dense=True))
    return pieces


def growth_figure(groups: Sequence[Group], layer: str = numbers.ALL_LAYERS) -> Figure | None:
    """The paper's Figure 2, of the whole generator or of a layer: units against the worst case.

    Args:
        groups: a line each.
        layer: a name that `numbers.growth` gives.

    Returns:
        None where nothing grows.
    """
    curves, worst = [], {}
    for style, group in enumerate(groups):
        each = [_layer(run, layer) for run in group.runs]
        grown = [found for found in each if found]
        if not grown:
            continue
        units = [found.units if found else [] for found in each]
        curves.append(line(group.title, units, style=style))
        initial = grown[0].units[0][1]
        longest = max((found.worst for found in grown), key=len)
        worst[initial] = max(worst.get(initial, []), longest, key=len)
    if not curves:
        return None
    whole = layer == numbers.ALL_LAYERS
    return figures.lines(
        curves,
        title="" if whole else layer,
        ylabel="units of the generator" if whole else "units",
        worst=list(worst.values()),
    )


def _layer(run: Run, layer: str) -> numbers.Growth | None:
    return next((found for found in numbers.growth(run.rows) if found.name == layer), None)


def growth(groups: Sequence[Group]) -> str:
    """Units of all layers together and of each by itself, a line per group."""
    names = dict.fromkeys(
        found.name for group in groups for run in group.runs for found in numbers.growth(run.rows)
    )
    pieces = []
    for index, name in enumerate(names):
        drawn = growth_figure(groups, name)
        told = [f"{sizes}." for group in groups if (sizes := _sizes(group, name))]
        caption = " ".join([f"Units of {name}.", *told])
        pieces.append(html.figure(drawn, f"growth-{index}", caption))
    if not pieces:
        return ""
    return html.section(
        "Growth",
        html.paragraph(
            "Units after the growth that follows each task. The worst case adds the initial size "
            "after every task, as in the paper's Figure 2.",
            quiet=True,
        ),
        html.side_by_side(*pieces, wide=True),
    )


def _sizes(group: Group, layer: str) -> str:
    """The first and the last size of a layer in words."""
    each = [_layer(run, layer) for run in group.runs]
    if None in each:
        return ""
    task, last = numbers.mean_curve([found.units for found in each])[-1]
    initial, worst = each[0].units[0][1], dict(each[0].worst)[task]
    units = numbers.with_spread(last, digits=0 if last.n == 1 else 1)
    return (
        f"{group.title}: {initial:,} at the start, {units} after task {task}, worst case {worst:,}"
    )


def masks(groups: Sequence[Group]) -> str:
    """What each group's tasks did with the weights or units, and what their masks share."""
    pieces = []
    for index, group in enumerate(groups):
        tasks = numbers.common_tasks(group.runs)
        elements = "units" if group.runs[0].settings.get("variant") == "a" else "weights"
        parts = numbers.mean_mask_use([numbers.mask_use(run.rows) for run in group.runs])
        if parts:
            told = (
                f"What each task did with the generator's {elements}: newly reserved, reused of "
                "earlier tasks, and left free before the generator grew."
            )
            if "reused" not in parts:
                told += " What it reused was not recorded."
            drawn = figures.mask_use(parts, elements=elements)
            pieces.append(html.figure(drawn, f"masks-{index}", _caption(told, group, groups)))
        shared = [numbers.mask_overlap(run.rows[:tasks]) for run in group.runs]
        if all(table is not None for table in shared):
            told = (
                "Mask overlap: of all that the row's task uses, the share that the column's task "
                f"uses too, counted in {elements}."
            )
            drawn = figures.heat_map(
                numbers.mean_table(shared),
                columns=[str(task) for task in range(1, tasks + 1)],
                xlabel="used by task, too",
                ylabel="of the mask of task",
                scale="share of the mask (%)",
                limits=(0.0, 100.0),
            )
            caption = _caption(told, group, groups)
            pieces.append(html.figure(drawn, f"overlap-{index}", caption, dense=True))
    return html.section("Masks", html.side_by_side(*pieces, wide=True))


def within_tasks(groups: Sequence[Group]) -> str:
    """Each logged quantity over the epochs of each task, a figure per group."""
    found = [
        numbers.mean_within_tasks([numbers.within_tasks(run.rows) for run in group.runs])
        for group in groups
    ]
    by_quantity = []
    for number, name in enumerate(dict.fromkeys(name for each in found for name in each)):
        title, unit = QUANTITIES.get(name, (name.replace("_", " "), "value"))
        pieces = []
        for index, (group, each) in enumerate(zip(groups, found, strict=True)):
            if name in each:
                drawn = figures.within_tasks(each[name], title=title, ylabel=unit)
                caption = _caption(f"{name}, mean over the steps of an epoch.", group, groups)
                pieces.append(html.figure(drawn, f"epochs-{number}-{index}", caption))
        by_quantity.append(pieces)
    if len(groups) == 1:
        by_quantity = [list(itertools.chain(*by_quantity))]
    # A task of one class may have had nothing to train.
    rows = [row for group in groups for run in group.runs for row in run.rows]
    whole = all(row.get("history") for row in rows if row.get("last_epoch"))
    note = "" if whole else "Where a task's epochs were not recorded, its last one is shown alone."
    return html.section(
        "Within each task",
        html.paragraph(note, quiet=True) if note and any(by_quantity) else "",
        # Several methods stand beside each other, a row for each quantity.
        *(html.side_by_side(*pieces) for pieces in by_quantity),
    )


def cost(groups: Sequence[Group]) -> str:
    """Figures of the time of each task, a figure per group, and of memory and parameters."""
    pieces = []
    for index, group in enumerate(groups):
        kinds = {"learning": "seconds", "evaluation": "evaluation_seconds"}
        parts = {}
        for name, key in kinds.items():
            each = [numbers.curve(run.rows, key) for run in group.runs]
            if all(
                len(points) == len(run.rows) for points, run in zip(each, group.runs, strict=True)
            ):
                parts[name] = numbers.mean_curve(each)
        if any(parts.values()):
            told = "Wall-clock time of each task on the run's own machine."
            drawn = figures.times(parts)
            pieces.append(html.figure(drawn, f"times-{index}", _caption(told, group, groups)))
    for key, unit, divisor, told in (
        ("peak_memory_mib", "MiB", 1, "Peak memory of the process up to the end of each task."),
        (
            "generator_parameters", "parameters (thousand)", 1000,
            "Parameters of the generator after each task.",
        ),
    ):  # fmt: skip
        drawn = _curves_figure(
            groups, lambda run, key=key, by=divisor: _divided(run, key, by), ylabel=unit, wide=False
        )
        if drawn is not None:
            pieces.append(html.figure(drawn, key.replace("_", "-"), f"{told} {counts(groups)}"))
    return html.side_by_side(*pieces)


def _divided(run: Run, key: str, divisor: float) -> Curve:
    return [(task, value / divisor) for task, value in numbers.curve(run.rows, key)]


def accuracy_figure(groups: Sequence[Group], key: str) -> Figure | None:
    """A share of 0 to 1 over tasks beside the paper's numbers; None where no run has it."""
    return _curves_figure(
        groups,
        lambda run: numbers.percent(numbers.curve(run.rows, key)),
        ylabel="accuracy (%)",
        published_key=key,
    )


def _curves_figure(
    groups: Sequence[Group],
    of: Callable[[Run], Curve],
    *,
    ylabel: str,
    wide: bool = True,
    published_key: str | None = None,
) -> Figure | None:
    curves = []
    for style, group in enumerate(groups):
        each = [of(run) for run in group.runs]
        if not any(each):
            continue
        paper = published_beside(group.runs[0])
        theirs = sorted(paper.percent.items()) if paper and paper.key == published_key else ()
        name = f"{paper.method} in the paper" if paper else ""
        curves.append(line(group.title, each, style=style, published=theirs, published_name=name))
    return figures.lines(curves, ylabel=ylabel, wide=wide) if curves else None


def counts(groups: Sequence[Group]) -> str:
    """How many runs are behind a figure of all groups."""
    sizes = sorted({len(group.runs) for group in groups})
    noun = "run" if sizes == [1] else "runs"
    return f"n = {', '.join(map(str, sizes))} {noun}{' per method' if len(groups) > 1 else ''}."


def _caption(told: str, group: Group, groups: Sequence[Group]) -> str:
    """Of a figure of one group: whose it is, where there are several, and n."""
    whose = f"{group.name}. " if len(groups) > 1 else ""
    n = len(group.runs)
    return f"{whose}{told} {'n = 1.' if n == 1 else f'Mean over n = {n} runs.'}"
