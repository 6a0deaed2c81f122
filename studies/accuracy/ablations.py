"""Ablations of DGMw: change one setting, learn with the same seeds, compare seed by seed.

    python -m studies.accuracy.ablations --dataset=digits --names=base,critic-32 --seeds=0,1,2
    python -m studies.accuracy.ablations --rows=results/runs.csv    # the table alone

Each run becomes a row of a file, in the columns of results/runs.csv. A run whose row is there is
not learnt again. Runs are small, so that many fit into an hour; whole runs are to confirm them.
"""

import argparse
import dataclasses
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dgm_tf
from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.evaluation.oracle import Oracle
from dgm_tf.methods.registry import METHODS
from dgm_tf.methods.settings import Recipe
from dgm_tf.reporting.tables import markdown_table
from dgm_tf.runs import provenance
from studies import results
from studies.results import Row

BASE = "base"
_GROUP = "ablations"
_ROWS = "runs/ablations.csv"  # where new rows go unless told otherwise
_RECIPE = {field.name for field in dataclasses.fields(Recipe)}
_SHOWN = {
    "A_last": "A",
    "G_last": "G",
    "frechet": "Frechet distance",
    "newest_predicted": "newest predicted",
    "size": "of worst size",
    "parameters": "thousand parameters",
    "minutes": "minutes",
}


@dataclasses.dataclass(frozen=True)
class Budget:
    """A small run.

    Attributes:
        tasks: learnt, of one class each.
        changed: settings that make it small, and those of the base.
    """

    tasks: int
    changed: Mapping[str, Any]


_BEFORE_STUDY = {"generator_size": 20, "consolidation_start": "new"}
BUDGETS: Mapping[str, Budget] = {
    "digits": Budget(10, _BEFORE_STUDY),
    "fashion_mnist": Budget(5, {"epochs": 4, "consolidation_steps": 300} | _BEFORE_STUDY),
}

# Settings that differ from the base, by name. A function takes the base's settings.
ABLATIONS: Mapping[str, Mapping[str, Any] | Callable[[Any], Mapping[str, Any]]] = {
    BASE: {},
    "epochs-half": lambda base: {"epochs": base.epochs // 2},
    "generator-12": {"generator_size": 12},
    "generator-32": {"generator_size": 32},
    "critic-32": {"critic_size": 32},
    "critic-norm": {"critic_norm": "batch"},
    "rates-constant": {"rate_decay": "none"},
    "adam-0.999": {"beta_2": 0.999},
    "critic-normal": {"critic_initializer": "normal"},
    "annealed-whole": {"annealed_fraction": 1.0},
    "consolidation-none": {"consolidation_steps": 0},
    "consolidation-thrice": lambda base: {"consolidation_steps": 3 * base.consolidation_steps},
    "consolidation-previous": {"consolidation_start": "previous"},
    "consolidation-real-none": {"real_weight": 0.0},
    "consolidation-plain": {
        "consolidation_start": "critic",
        "distillation_weight": 0.0,
        "real_weight": 0.0,
    },
    "distillation-none": {"distillation_weight": 0.0},
    "real-margins": {"real_margins": 0.5},
    "class-weight-none": {"class_weight": 0.0},
    "sparsity-low": lambda base: {"sparsity": base.sparsity / 8},
    "sparsity-high": lambda base: {"sparsity": base.sparsity * 4},
    "sparsity-unscaled": {"sparsity_follows_size": False},
}


def changed_settings(dataset: str, name: str) -> dict[str, Any]:
    """Returns the settings of an ablation that differ from the data set's preset."""
    budget = dict(BUDGETS[dataset].changed)
    change = ABLATIONS[name]
    if callable(change):
        change = change(dgm_tf.settings_for(dataset, **budget))
    return budget | dict(change)


def settings_of(dataset: str, name: str, seed: int) -> dgm_tf.DGMSettings:
    """Returns the settings of an ablation, whose recipe is registered if it is another one."""
    return settings_with(dataset, changed_settings(dataset, name), seed, recipe=name)


def settings_with(
    dataset: str,
    changed: Mapping[str, Any],
    seed: int,
    *,
    recipe: str,
    method: str = "dgm",
    variant: str | None = None,
) -> dgm_tf.MethodSettings:
    """Returns a data set's settings with some changed.

    Args:
        dataset: name of the data set.
        changed: settings and constants of the recipe, by name.
        seed: of the learner.
        recipe: the name by which a recipe with changed constants is registered.
        method: one of `dgm_tf.methods.registry.METHODS`.
        variant: of DGM; None for other methods, and for DGMw.
    """
    recipes = METHODS[method].settings.recipes
    others = {**changed, "seed": seed}
    of_recipe = {key: others.pop(key) for key in _RECIPE & set(others)}
    if of_recipe:
        recipes[recipe] = dataclasses.replace(recipes["tuned"], **of_recipe)
        others["recipe"] = recipe
    return dgm_tf.settings_for(dataset, method, variant=variant, **others)


def learn(dataset: str, name: str, seed: int, *, data_dir: str | None = None) -> Row:
    """Learns one run and returns its row."""
    changed = changed_settings(dataset, name)
    stream = dgm_tf.class_incremental(dataset, seed=seed, data_dir=data_dir)
    learner = dgm_tf.DGM(settings_of(dataset, name, seed))
    measured = measure(stream, learner, Oracle.of(stream), BUDGETS[dataset].tasks)
    return {
        "group": f"{_GROUP}/{name}",
        "dataset": dataset,
        "tasks": len(stream),
        "method": "dgm",
        "variant": "w",
        "seed": seed,
        "changed": ";".join(f"{setting}={value}" for setting, value in changed.items()),
        "command": f"python -m studies.accuracy.ablations --dataset={dataset} --names={name} "
        f"--seeds={seed}",
        "commit": _commit(),
        "machine": _machine(),
        "date": provenance.today(),
        "tasks_learnt": BUDGETS[dataset].tasks,
        **measured,
    }


def measure(
    stream: dgm_tf.TaskStream, learner: dgm_tf.DGM, oracle: Oracle, tasks: int
) -> dict[str, float | None]:
    """Learns the first tasks of a stream and returns the measures of `studies.results`."""
    accuracy, found, seconds = AccuracyMatrix(), {}, 0.0
    for task in stream.tasks():
        began = time.monotonic()
        learner.learn(task, verbose=0)
        seconds += time.monotonic() - began
        evaluation = learner.evaluate(stream.seen_test(task))
        accuracy.add(task.index, evaluation.class_accuracy)
        if task.index in (5, 10, tasks):
            test = stream.seen_test(task)
            judgement = oracle.judge(learner.generate, learner.classes_seen, test)
            found[f"A{task.index}"] = 100 * evaluation.average_accuracy
            found[f"G{task.index}"] = 100 * judgement.accuracy
        if task.index == tasks:
            break
    newest = evaluation.newest_class_share(task.classes)["predictions"]
    growth = learner.growth()
    worst = sum(growth["initial_layer_widths"]) * (tasks + 1)  # with room for one more task
    found |= {
        "A_last": found[f"A{tasks}"],
        "G_last": found[f"G{tasks}"],
        "forgetting": _percent(accuracy.forgetting(tasks)),
        "BWT": _percent(accuracy.backward_transfer(tasks)),
        "frechet": judgement.frechet_distance,
        "newest_predicted": 100 * newest,
        "size": 100 * sum(growth["layer_widths"]) / worst,
        "parameters": growth["generator_parameters"],
        "minutes": seconds / 60,
    }
    return {name: found.get(name) for name in results.MEASURES}


def table(rows: Sequence[Row], dataset: str) -> str:
    """The ablations of a data set in Markdown: mean and sample standard deviation over seeds.

    `change of A` is the mean over seeds of an ablation's A minus that of the base of the same seed.
    """
    runs: dict[str, list[Row]] = {}
    for row in rows:
        group, _, name = row["group"].partition("/")
        if group == _GROUP and row["dataset"] == dataset:
            runs.setdefault(name, []).append(row)
    base = {row["seed"]: row["A_last"] for row in runs.get(BASE, ())}
    lines = []
    for name in sorted(runs, key=lambda name: (name != BASE, name)):
        paired = [row["A_last"] - base[row["seed"]] for row in runs[name] if row["seed"] in base]
        change = "" if name == BASE else results.spread(paired)
        cells = [results.spread(_shown(row, measure) for row in runs[name]) for measure in _SHOWN]
        lines.append([name, str(len(runs[name])), change, *cells])
    return markdown_table(["ablation", "n", "change of A", *_SHOWN.values()], lines)


def _shown(row: Row, measure: str) -> float | None:
    value = row[measure]
    return value / 1000 if value is not None and measure == "parameters" else value


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parsed(arguments)
    rows = results.read(given.rows) if Path(given.rows).exists() else []
    there = {(row["group"], row["dataset"], row["seed"]) for row in rows}
    for seed in given.seeds:
        for name in given.names:
            if (f"{_GROUP}/{name}", given.dataset, seed) not in there:
                print(f"learning {name}, seed {seed}", flush=True)
                row = learn(given.dataset, name, seed, data_dir=given.data_dir)
                results.append(given.rows, row)
    if Path(given.rows).exists():
        print(table(results.read(given.rows), given.dataset))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", choices=BUDGETS, default="digits")
    parser.add_argument("--names", default="", help=f"of {', '.join(ABLATIONS)}")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rows", default=_ROWS, help="file of the rows (default: %(default)s)")
    parser.add_argument("--data_dir", help="where prepared data is")
    given = parser.parse_args(arguments)
    given.names = given.names.split(",") if given.names else []
    given.seeds = [int(seed) for seed in given.seeds.split(",")]
    if unknown := set(given.names) - set(ABLATIONS):
        parser.error(f"unknown ablation {', '.join(sorted(unknown))}")
    return given


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _commit() -> str:
    command = ["git", "-C", str(results.ROOT), "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _machine() -> str:
    its = provenance.machine()
    return ", ".join([f"{its['cores']} cores {its['cpu']}", *its["gpus"]])


if __name__ == "__main__":
    main()
