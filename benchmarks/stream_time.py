"""What learning a whole stream takes and reaches, at two revisions in turn.

    python -m benchmarks.stream_time --dataset=mnist --baseline=REV
    python -m benchmarks.stream_time --dataset=digits --baseline=REV --record="fused Adam"
    python -m benchmarks.stream_time --dataset=mnist --baseline=HEAD --after=--jit_compile
    python -m benchmarks.stream_time --dataset=digits -- --max_tasks=2

"before" is the revision of --baseline, "after" the files as they are now. Both are copied aside, so
that neither changes while it is measured. For each seed the trainer's own command learns the stream
once with either, in a process of its own; who goes first alternates. Arguments behind -- go to both
trainers. Generated images are not scored: seconds of learning are what counts.

Finished runs stand in the file runs.csv of --out. The same command after a kill skips them, and
begins the run that was cut short from its start. Without --baseline "after" is measured alone.
"""

import contextlib
import csv
import datetime
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import app, flags

# By data set its trainer, and flags with which all tasks take minutes.
STREAMS = {
    "digits": ("split_digits",),
    "mnist": ("split_mnist", "--epochs=3", "--consolidation_steps=300"),
    "svhn_cropped": ("split_svhn", "--epochs=30"),
}
ROOT = Path(__file__).parents[1]
PACKAGES = ("dgm_tf", "trainers")
RECORD = ROOT / "results" / "stream_time.csv"
# Seconds of learning alone, of the whole command, and of all cores together; MiB; percent.
NUMBERS = ("learning_s", "command_s", "cpu_s", "peak_mib", "A5", "A10")
_RUN = ("pair", "side", "seed", "command_line", "machine", "date", *NUMBERS)
RECORDED = (
    "change", "dataset", "seed", "before", "after",
    *(f"{name}_{side}" for name in NUMBERS for side in ("before", "after")),
    "command_line", "machine", "date",
)  # fmt: skip

_CACHES = shutil.ignore_patterns("__pycache__")

_DATASET = flags.DEFINE_enum("dataset", "digits", STREAMS, "stream to learn")
_BASELINE = flags.DEFINE_string("baseline", None, "revision to compare with")
_BEFORE = flags.DEFINE_string("before", "", "more arguments of the baseline's trainer")
_AFTER = flags.DEFINE_string("after", "", "more arguments of this revision's trainer")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds, one pair of runs each")
_OUT = flags.DEFINE_string("out", "runs/stream_time", "folder of the finished runs' numbers")
_RECORD = flags.DEFINE_string(
    "record", None, f"what the revisions differ in, for rows in {RECORD.relative_to(ROOT)}"
)

Row = dict[str, Any]


class Side(NamedTuple):
    """One of the revisions that are compared: its commit's short hash and its trainer's call."""

    name: str
    revision: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join([self.revision, *self.arguments])


def copy_aside(name: str | None, folder: Path) -> str:
    """Writes the packages of a commit into a folder, by default the files as they are.

    They are compiled, so that no run's seconds have that.

    Returns:
        The commit's short hash. That of files that differ from HEAD ends with + and their digest.
    """
    if name is None:
        short = _revision_here()
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=_CACHES)
    else:
        short = _git("rev-parse", "--verify", "--short=7", f"{name}^{{commit}}").decode().strip()
        with tarfile.open(fileobj=io.BytesIO(_git("archive", short, *PACKAGES))) as files:
            files.extractall(folder, filter="data")
    command = [sys.executable, "-m", "compileall", "-q", *PACKAGES]
    subprocess.run(command, cwd=folder, check=True)
    return short


def _revision_here() -> str:
    known = (ROOT / ".git").exists()
    short = _git("rev-parse", "--short=7", "HEAD").decode().strip() if known else "unknown"
    if known and not _git("status", "--porcelain", "--", *PACKAGES):
        return short
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return f"{short}+{digest.hexdigest()[:7]}"


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip().splitlines()
        sys.exit(f"error: git {shlex.join(arguments)}: {text[-1] if text else 'failed'}")
    return done.stdout


def learnt(side: Side, checkout: Path, *, seed: int) -> Row:
    """Learns the stream by a checkout's trainer, and returns its numbers."""
    trainer, *given = side.arguments
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", f"trainers.{trainer}", *given, f"--seed={seed}"]
        used = timed([*command, f"--run_dir={folder}/run", "--verbosity=0"], checkout)
        machine = json.loads(Path(folder, "run", "settings.json").read_text())["machine"]
        lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()
    tasks = [json.loads(line) for line in lines]
    accuracy = {row["task"]: round(100 * row["average_accuracy"], 2) for row in tasks}
    return {
        "side": side.name,
        "seed": seed,
        "command_line": shlex.join(["python", *command[1:]]),
        "machine": _machine(machine),
        "date": datetime.date.today().isoformat(),
        "learning_s": round(sum(row["seconds"] for row in tasks), 1),
        **used,
        "A5": accuracy.get(5),
        "A10": accuracy.get(10),
    }


def timed(command: Sequence[str], folder: Path) -> dict[str, float]:
    """Runs a command in a folder; returns its seconds, those of its cores, and its peak MiB."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    start = time.monotonic()
    child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    try:
        _, status, used = os.wait4(child.pid, 0)
    except BaseException:  # Ctrl-C or SIGTERM
        child.terminate()
        child.wait()
        raise
    seconds = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"error: {shlex.join(command)} ended with {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "command_s": round(seconds, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss * unit / 2**20),
    }


def _machine(found: Mapping[str, Any]) -> str:
    onednn = "oneDNN" if found["onednn"] else "no oneDNN"
    return ", ".join([f"{found['cores']} cores {found['cpu']}", onednn, *found["gpus"]])


def measured(sides: Sequence[Side], checkouts: Mapping[str, Path], seeds: Sequence[int],
             out: Path) -> list[Row]:  # fmt: skip
    """Rows of all runs: those that a file has, and others, which are added to it."""
    pair = " | ".join(map(str, sides))
    rows = [row for row in read(out) if row["pair"] == pair and row["seed"] in seeds]
    for place, seed in enumerate(seeds):
        for side in sides[:: -1 if place % 2 else 1]:
            if any((row["side"], row["seed"]) == (side.name, seed) for row in rows):
                continue
            print(f"seed {seed}, {side.name}: {side}", flush=True)
            rows.append({"pair": pair, **learnt(side, checkouts[side.name], seed=seed)})
            append(out, _RUN, rows[-1])
    return rows


def read(path: Path) -> list[Row]:
    """The rows of a file of runs; none where there is no file."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {name: float(row[name]) if row[name] else None for name in NUMBERS}
        row["seed"] = int(row["seed"])
    return rows


def append(path: Path, columns: Sequence[str], row: Row) -> None:
    """Adds a row to a file, which need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not begun:
            writer.writeheader()
        writer.writerow(row)


def table(rows: Sequence[Row]) -> str:
    """A line per run, the means of each side, and what after is to before, over pairs of a seed."""
    lines = [f"{'seed':>4}  {'':14}{''.join(f'{name:>10}' for name in NUMBERS)}"]
    for row in sorted(rows, key=lambda row: (row["seed"], row["side"] != "before")):
        cells = [f"{_text(row[name]):>10}" for name in NUMBERS]
        lines.append(f"{row['seed']:4}  {row['side']:14}{''.join(cells)}")
    sides = [[row for row in rows if row["side"] == side] for side in ("before", "after")]
    for side in filter(None, sides):
        cells = [f"{_text(_mean(row[name] for row in side)):>10}" for name in NUMBERS]
        lines.append(f"mean  {side[0]['side']:14}{''.join(cells)}")
    for name in NUMBERS if pairs(rows) else ():
        lines.append(_compared(name, pairs(rows)))
    return "\n".join(lines)


def pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """The runs of each seed, before and after, where there are both."""
    of = {(row["seed"], row["side"]): row for row in rows}
    seeds = sorted({row["seed"] for row in rows})
    both = [(of.get((seed, "before")), of.get((seed, "after"))) for seed in seeds]
    return [(before, after) for before, after in both if before and after]


def _compared(name: str, both: Sequence[tuple[Row, Row]]) -> str:
    """What a number is after to what it was before: a difference of percents, else a ratio."""
    found = [(b[name], a[name]) for b, a in both if b[name] is not None and a[name] is not None]
    if not found:
        return f"{name}: not reached"
    if name in ("A5", "A10"):
        values = [after - before for before, after in found]
        kind, form = "after - before", "+.2f"
    else:
        values = [after / before for before, after in found]
        kind, form = "after / before", ".3f"
    low, mean, high = (format(f(values), form) for f in (min, statistics.fmean, max))
    return f"{name}, {kind}: {mean} ({low} to {high})"


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def _mean(values: Iterator[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found else None


def recorded(rows: Sequence[Row], sides: Sequence[Side], **known: str) -> list[Row]:
    """The rows of runs as the file of committed numbers has them, one per pair of a seed."""
    before, after = (side.revision for side in sides)
    return [
        {
            **known, "seed": first["seed"], "before": before, "after": after,
            **{f"{name}_{row['side']}": row[name] for row in (first, second) for name in NUMBERS},
            **{name: second[name] for name in ("command_line", "machine", "date")},
        }
        for first, second in pairs(rows)
    ]  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Measures what is missing, prints a table, and records it where asked."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    common = (*STREAMS[_DATASET.value], "--variant=w", "--nooracle", *arguments[1:])
    names = {"before": _BASELINE.value, "after": None}
    if _BASELINE.value is None:
        del names["before"]
    more = {"before": _BEFORE.value, "after": _AFTER.value}
    with contextlib.ExitStack() as ends:
        sides, checkouts = [], {}
        for side, name in names.items():
            checkouts[side] = Path(ends.enter_context(tempfile.TemporaryDirectory()))
            short = copy_aside(name, checkouts[side])
            sides.append(Side(side, short, (*common, *shlex.split(more[side]))))
        if _RECORD.value and (len(sides) < 2 or "+" in sides[-1].revision):
            sys.exit("error: --record needs a --baseline and files that are committed")
        out = Path(_OUT.value).absolute() / "runs.csv"
        rows = measured(sides, checkouts, [int(seed) for seed in _SEEDS.value], out)
    print(table(rows))
    if _RECORD.value:
        for row in recorded(rows, sides, change=_RECORD.value, dataset=_DATASET.value):
            append(RECORD, RECORDED, row)


if __name__ == "__main__":
    app.run(main)
