"""Adds finished runs to results/runs.csv, and keeps their folders, slim, under results/.

    python -m studies.record runs/svhn_cropped-10/dgm-w/seed0
    python -m studies.record runs/mnist-10/*/seed0 --group=paper --nokeep

A row holds what the run's folder says: nothing is measured again. The commit is that of the
checkout unless told otherwise. Of a kept folder stay settings, metrics without each epoch's history
and the last sheet of generated images, which is what pages and pictures are made from.
"""

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dgm_tf.reporting import comparison
from dgm_tf.reporting.run import Run, read_run
from studies import results
from studies.results import ROOT, Row

_HISTORY = "history"  # of a line of metrics.jsonl: a value for each epoch


def row_of(folder: str | Path, *, group: str, commit: str) -> Row:
    """Returns the row of a run.

    Args:
        folder: the run's.
        group: the rows that it belongs to, such as "defaults".
        commit: of the code that it was learnt by.
    """
    run = read_run(folder)
    lines, machine = run.rows, run.description["machine"]
    last = lines[-1]
    method, _, variant = run.learner.partition("-")
    found = {name: _rounded(value) for name, value in comparison.measures(run).items()}
    cores = machine["cores"]
    return {
        "group": group,
        "dataset": run.dataset,
        "tasks": run.tasks,
        "method": method,
        "variant": variant,
        "seed": run.seed,
        "changed": "",
        "command": _command(run),
        "commit": commit,
        "machine": f"{cores} core{'s' * (cores != 1)} {machine['cpu']}"
        + ", oneDNN" * bool(machine.get("onednn")),
        "date": run.description["date"],
        "tasks_learnt": len(lines),
        **{name: found[name] for name in ("A5", "A10", "G5", "G10", "forgetting", "BWT")},
        "A_last": _percent(last["average_accuracy"]),
        "G_last": _percent(last.get("oracle_accuracy")),
        "frechet": found["Frechet distance"],
        "changed_pixels": found["changed pixels"],
        "newest_predicted": _percent(last["newest_class_share"]["predictions"]),
        "size": found["of worst size"],
        "parameters": last.get("generator_parameters"),
        "kept": run.kept_bytes,
        "minutes": found["minutes"],
        "A": [round(100 * line["average_accuracy"], 2) for line in lines],
    }


def keep(folder: str | Path, root: Path = ROOT / "results") -> Path:
    """Copies a run's folder, slim, in place of one that is there; returns where it is."""
    folder, run = Path(folder), read_run(folder)
    place = root / f"{run.dataset}-{run.tasks}" / run.learner / f"seed{run.seed}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    description = {**run.description, "command": _command(run)}
    text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
    (place / "settings.json").write_text(text, encoding="utf-8")
    slim = [{k: v for k, v in line.items() if k != _HISTORY} for line in run.rows]
    text = "".join(json.dumps(line) + "\n" for line in slim)
    (place / "metrics.jsonl").write_text(text, encoding="utf-8")
    for sheet in sorted(folder.glob("samples/task-*.png"))[-1:]:
        (place / "samples").mkdir()
        shutil.copy(sheet, place / "samples")
    return place


def _command(run: Run) -> str:
    """The run's command, without the folder that it wrote."""
    return re.sub(r" --run_dir=\S+", "", run.description["command"])


def _percent(value: float | None) -> float | None:
    return None if value is None else _rounded(100 * value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", help="folders of finished runs")
    parser.add_argument("--group", default="defaults")
    parser.add_argument("--commit", help="by default that of the checkout")
    parser.add_argument("--nokeep", action="store_true", help="add the row only")
    given = parser.parse_args(arguments)
    head = ["git", "rev-parse", "--short", "HEAD"]
    commit = given.commit or subprocess.check_output(head, cwd=ROOT, text=True).strip()
    for folder in given.runs:
        row = row_of(folder, group=given.group, commit=commit)
        if given.group == "defaults" and row["tasks_learnt"] < row["tasks"]:
            raise SystemExit(f"{folder} has learnt {row['tasks_learnt']} of {row['tasks']} tasks")
        results.append(results.RUNS, row)
        print(row if given.nokeep else keep(folder))


if __name__ == "__main__":
    main()
