"""What a setting brings: one changed at a time against a base, seed by seed.

The base has the defaults but for the generator's first size and what a task's classifier is made
of, whose defaults this study has chosen. Runs are small, so that many fit into an hour; what they
show is to be confirmed by whole runs. Those levers that decide how large the generator becomes are
drawn as well, accuracy against size.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.experiments.grid import Planned
from dgm_tf.reporting import figures, numbers, table
from dgm_tf.reporting.gallery import between_marks
from dgm_tf.reporting.run import Run, read_run
from dgm_tf.settings import DGMSettings, settings_for
from dgm_tf.storage.files import write_atomically

BASE = "base"
BEGIN, END = "<!-- levers:begin -->", "<!-- levers:end -->"

# A lever on nothing else decides the generator's size.
_OF_SIZE = {"sparsity", "sparsity_follows_size", "generator_size"}
_PICTURES = "levers"

# What is said of a run after its last task; shares in percent.
_MEASURES: Mapping[str, Callable[[Run], float | None]] = {
    "A": lambda run: _percent(run.rows[-1]["average_accuracy"]),
    "G": lambda run: _percent(run.rows[-1].get("oracle_accuracy")),
    "Frechet distance": lambda run: run.rows[-1].get("oracle_frechet_distance"),
    "newest predicted": lambda run: _percent(
        run.rows[-1].get("newest_class_share", {}).get("predictions")
    ),
    "of worst size": lambda run: _percent(table.size(run)),
    "minutes": lambda run: run.minutes,
}


@dataclasses.dataclass(frozen=True)
class Lever:
    """One change to the settings.

    Attributes:
        about: what is changed, as the table says it.
        changed: the settings that it changes, from those of the budget.
    """

    about: str
    changed: Callable[[DGMSettings], Mapping[str, Any]] = lambda settings: {}


@dataclasses.dataclass(frozen=True)
class Budget:
    """A small run.

    Attributes:
        tasks: learnt, of one class each.
        changed: settings that make it small, and the base's own.
    """

    tasks: int
    changed: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_BEFORE_STUDY = {"generator_size": 20, "consolidation_start": "new"}
BUDGETS: Mapping[str, Budget] = {
    "digits": Budget(10, _BEFORE_STUDY),
    "fashion_mnist": Budget(5, {"epochs": 4, "consolidation_steps": 300} | _BEFORE_STUDY),
}

LEVERS: Mapping[str, Lever] = {
    BASE: Lever("the base: the defaults with g = 20 and a classifier begun anew"),
    "epochs-twice": Lever("twice the epochs", lambda base: {"epochs": 2 * base.epochs}),
    "epochs-half": Lever("half the epochs", lambda base: {"epochs": base.epochs // 2}),
    "generator-12": Lever("a generator of g = 12", lambda base: {"generator_size": 12}),
    "generator-32": Lever("a generator of g = 32", lambda base: {"generator_size": 32}),
    "critic-32": Lever("a critic of d = 32", lambda base: {"critic_size": 32}),
    "critic-norm": Lever("batch norm in the critic", lambda base: {"critic_norm": "batch"}),
    "rates-constant": Lever("constant rates", lambda base: {"rate_decay": "none"}),
    "rates-half": Lever(
        "half the rates",
        lambda base: {
            "learning_rate": base.learning_rate / 2,
            "critic_learning_rate": base.critic_learning_rate / 2,
        },
    ),
    "output-width": Lever(
        "the generator's output layer by its width", lambda base: {"output_follows_width": True}
    ),
    "adam-0.999": Lever(
        "0.999 as Adam's second decay (the paper)", lambda base: {"beta_2": 0.999}
    ),
    "adam-0.9": Lever("0.9 as Adam's second decay", lambda base: {"beta_2": 0.9}),
    "critic-rate-half": Lever(
        "half the critic's rate",
        lambda base: {"critic_learning_rate": base.critic_learning_rate / 2},
    ),
    "critic-rate-twice": Lever(
        "twice the critic's rate",
        lambda base: {"critic_learning_rate": 2 * base.critic_learning_rate},
    ),
    "critic-normal": Lever(
        "the critic's first weights all of one size (the paper)",
        lambda base: {"critic_initializer": "normal"},
    ),
    "annealed-whole": Lever(
        "masks annealed in all epochs (the paper)", lambda base: {"annealed_share": 1.0}
    ),
    "annealed-none": Lever(
        "masks as steep as s_max from the first step", lambda base: {"annealed_share": 0.0}
    ),
    "consolidation-slow": Lever(
        "a third of consolidation's rate",
        lambda base: {"consolidation_learning_rate": base.consolidation_learning_rate / 3},
    ),
    "consolidation-none": Lever("no consolidation", lambda base: {"consolidation_steps": 0}),
    "consolidation-thrice": Lever(
        "three times the consolidation",
        lambda base: {"consolidation_steps": 3 * base.consolidation_steps},
    ),
    "consolidation-critic": Lever(
        "a classifier that goes on from the critic", lambda base: {"consolidation_start": "critic"}
    ),
    "classifier-average": Lever(
        "a running mean of the classifier's weights (0.995)",
        lambda base: {"classifier_average": 0.995},
    ),
    "consolidation-previous": Lever(
        "a classifier that goes on from the one of the task before",
        lambda base: {"consolidation_start": "previous"},
    ),
    "real-margins": Lever(
        "margins of the newest class's real images for half of the generated ones",
        lambda base: {"real_margin_share": 0.5},
    ),
    "distillation-none": Lever(
        "old classes by their labels alone in consolidation",
        lambda base: {"distillation_share": 0.0},
    ),
    "consolidation-real-none": Lever(
        "no real images of the newest class in consolidation",
        lambda base: {"consolidation_real_share": 0.0},
    ),
    "consolidation-plain": Lever(
        "the critic goes on, by labels alone, on generated images alone",
        lambda base: {
            "consolidation_start": "critic",
            "distillation_share": 0.0,
            "consolidation_real_share": 0.0,
        },
    ),
    "replay-twice": Lever(
        "twice the replayed images in a step", lambda base: {"replay_batch": 2 * base.replay_batch}
    ),
    "replay-full": Lever("one batch per old class (the paper)", lambda base: {"replay": "full"}),
    "jitter": Lever(
        "contrast and brightness of the classifier's images varied",
        lambda base: {"color_jitter": 1.0},
    ),
    "class-weight-none": Lever(
        "no classification term in the generator's loss", lambda base: {"class_weight": 0.0}
    ),
    "class-weight-thrice": Lever(
        "three times the weight of that term", lambda base: {"class_weight": 3 * base.class_weight}
    ),
    "class-updates-twice": Lever(
        "two updates by classes for one by the Wasserstein loss", lambda base: {"class_updates": 2}
    ),
    "sparsity-low": Lever(
        "an eighth of lambda", lambda base: {"sparsity": base.sparsity / 8}
    ),
    "sparsity-high": Lever(
        "four times lambda", lambda base: {"sparsity": base.sparsity * 4}
    ),
    "sparsity-unscaled": Lever(
        "lambda as it is at any size (the paper)", lambda base: {"sparsity_follows_size": False}
    ),
}  # fmt: skip


def plan(
    levers: Sequence[str], datasets: Sequence[str], seeds: Sequence[int], root: str
) -> list[Planned]:
    """A run of DGMw for each combination, data set by data set and seed by seed.

    Args:
        levers: of `LEVERS`.
        datasets: of `BUDGETS`.
        seeds: of the runs.
        root: results folder; a lever's runs go into the folder of its name.

    Raises:
        InputError: an unknown lever or data set.
    """
    _checks.known("lever", levers, LEVERS)
    _checks.known("data set", datasets, BUDGETS)
    return [
        _planned(lever, dataset, seed, root)
        for dataset in datasets
        for seed in seeds
        for lever in levers
    ]


def _planned(name: str, dataset: str, seed: int, root: str) -> Planned:
    budget = BUDGETS[dataset]
    small = settings_for(dataset, "w", **budget.changed)
    settings = {**budget.changed, **LEVERS[name].changed(small)}
    flags = tuple(f"--{setting}={value}" for setting, value in settings.items())
    return Planned(dataset, "dgm-w", seed, f"{root}/{name}", flags, budget.tasks)


def write_tables(root: str | Path, path: str | Path) -> list[Path]:
    """Puts the tables of the finished runs below `root` between their marks in a Markdown file.

    Below a table stands a figure of accuracy against size, in a folder beside the file.

    Returns:
        The files written.

    Raises:
        InputError: there is no finished run, the marks are missing, or a file cannot be used.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {_checks.one_line(error)}") from error
    drawn = pictures(root)
    text = between_marks(path, text, (BEGIN, END), markdown(root, shown=drawn))
    for name, svg in drawn.items():
        write_atomically(path.parent / name, svg)
    write_atomically(path, text.encode())
    return [*(path.parent / name for name in drawn), path]


def markdown(root: str | Path, *, shown: Collection[str] = ()) -> str:
    """A table per data set: a row per lever, mean and sample standard deviation over seeds.

    `change of A` is the mean over seeds of a lever's A less that of the base, seed by seed.

    Args:
        root: results folder, with a folder per lever.
        shown: those of `pictures` that are to stand below their tables.

    Raises:
        InputError: there is no finished run, or one cannot be read.
    """
    parts = []
    for dataset, budget in BUDGETS.items():
        runs = _runs(root, dataset)
        if not runs:
            continue
        base = {run.seed: run for run in runs.get(BASE, [])}
        header = ["lever", "n", "change of A", *_MEASURES]
        rows = []
        for lever, mine in runs.items():
            cells = [_cell(map(measure, mine)) for measure in _MEASURES.values()]
            change = "" if lever == BASE else _change(mine, base)
            about = LEVERS[lever].about
            rows.append([about, str(len(mine)), change, *cells])
        scenario = next(iter(runs.values()))[0].scenario
        title = f"{scenario[:1].upper()}{scenario[1:]}; after task {budget.tasks}."
        parts += [title, table.markdown_table(header, rows)]
        if (picture := _picture(dataset)) in shown:
            alt = f"{dataset}: accuracy against the generator's size"
            parts.append(f'<img src="{picture}" width="60%" alt="{alt}">')
    if not parts:
        raise InputError(f"no finished run in {root}: learn one first, or name another --results")
    return "\n\n".join(parts)


def pictures(root: str | Path) -> dict[str, bytes]:
    """The figures of accuracy against size as SVG files, by what `markdown` calls them."""
    drawn = {dataset: size_figure(root, dataset) for dataset in BUDGETS}
    return {
        _picture(dataset): figures.svg_bytes(figure)
        for dataset, figure in drawn.items()
        if figure is not None
    }


def size_figure(root: str | Path, dataset: str) -> Figure | None:
    """A point for each lever of `_OF_SIZE` that has finished runs, and one for the base.

    The one whose size settings are today's defaults is marked. None where there are fewer than two.
    """
    small = settings_for(dataset, "w", **BUDGETS[dataset].changed)
    todays = settings_for(dataset, "w")
    found: dict[str, tuple[numbers.Spread, numbers.Spread]] = {}
    chosen = None
    for lever, mine in _runs(root, dataset).items():
        sizes = [run.rows[-1].get("generator_parameters") for run in mine]
        changed = LEVERS[lever].changed(small)
        if set(changed) <= _OF_SIZE and None not in sizes:
            size = numbers.spread(size / 1e3 for size in sizes)
            found[lever] = size, numbers.spread(map(_MEASURES["A"], mine))
            its = dataclasses.replace(small, **changed)
            if all(getattr(its, name) == getattr(todays, name) for name in _OF_SIZE):
                chosen = lever
    if len(found) < 2:
        return None
    points = {name: (size.mean, accuracy.mean) for name, (size, accuracy) in found.items()}
    best = numbers.front(
        points.values(), little=lambda point: point[0], much=lambda point: point[1]
    )
    return figures.trade_off(
        list(points.values()),
        best,
        xlabel="thousands of parameters of the generator after the last task",
        ylabel="accuracy on real test images (%)",
        each="mean over seeds",
        names=list(points),
        deviations=[accuracy.deviation for _, accuracy in found.values()],
        marked={"g and lambda of the defaults": points[chosen]} if chosen else {},
    )


def _picture(dataset: str) -> str:
    return f"{_PICTURES}/size-{dataset}.svg"


def _runs(root: str | Path, dataset: str) -> dict[str, list[Run]]:
    """The finished runs of each lever that has some."""
    found = {lever: _finished(Path(root) / lever, dataset, BUDGETS[dataset]) for lever in LEVERS}
    return {lever: mine for lever, mine in found.items() if mine}


def _finished(folder: Path, dataset: str, budget: Budget) -> list[Run]:
    runs = [read_run(path.parent) for path in folder.glob(f"{dataset}-*/*/seed*/metrics.jsonl")]
    return sorted((run for run in runs if len(run.rows) >= budget.tasks), key=lambda run: run.seed)


def _change(runs: Sequence[Run], base: Mapping[int, Run]) -> str:
    accuracy = _MEASURES["A"]
    return _cell(accuracy(run) - accuracy(base[run.seed]) for run in runs if run.seed in base)


def _cell(values: Iterable[float | None]) -> str:
    return numbers.with_spread(numbers.spread(value for value in values if value is not None))


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
