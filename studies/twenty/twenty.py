"""Twenty classes by twenty processes, against one process that learns the same stream.

    python -m studies.twenty.twenty --folder=runs/twenty --train=500 --test=200 --steps=600

Ten digits of MNIST, then ten garments of Fashion-MNIST, go into folders of PNG files. A process of
`trainers.learn` learns each class, and is given the images of this class only; `trainers.audit`
follows each. The seventh process is killed by SIGKILL inside its task, and its command given again.
Then one process learns all twenty from a single stream, with the same images, order and settings.
Flags that are not this program's go to `trainers.learn`. A program that was stopped resumes.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# TensorFlow is imported only by the parts: a process that is started inherits the peak memory of
# the one that starts it.

SIZE = 32
PARTS = ("images", "processes", "single", "compare")
_SHOWN = (2, 10, 20)  # classes after which seconds and memory stand in the row


def write_images(folder: Path, *, train: int, test: int) -> None:
    """Writes the first images of each class, and classes.json with their names in order.

    `images/07/6/00000.png` is the first training image of the seventh class, called 6, and
    `tests/6/00000.png` its first test image.
    """
    from dgm_tf.data.datasets import load_data

    names = []
    for dataset in ("mnist", "fashion_mnist"):
        data = load_data(dataset)
        for label, name in enumerate(data.class_names):
            names.append(name.replace("/", " or "))
            place = folder / "images" / f"{len(names):02d}" / names[-1]
            _write(place, data.train_images[data.train_labels == label][:train])
            _write(folder / "tests" / names[-1], data.test_images[data.test_labels == label][:test])
    (folder / "classes.json").write_text(json.dumps(names))


def _write(folder: Path, images: Any) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for index, pixels in enumerate(images):
        Image.fromarray(pixels[..., 0]).save(folder / f"{index:05d}.png")


def measured(arguments: Sequence[str], *, killed_in: Path | None = None) -> dict[str, float]:
    """Runs a Python module in a process; returns its exit code, seconds and peak memory in MiB.

    Args:
        arguments: the module's name and its arguments.
        killed_in: folder of checkpoints inside a task; when the first is there the process is
            killed.
    """
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL)
    ended = 0
    while not ended:
        time.sleep(0.05)
        if killed_in is not None and list(killed_in.glob("task-*")):
            os.kill(process.pid, signal.SIGKILL)  # which `Popen.kill` would wait for
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)  # of this process alone
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "code": process.returncode,
        "seconds": round(time.monotonic() - start, 1),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
    }


def learn_in_processes(folder: Path, names: Sequence[str], given: argparse.Namespace) -> None:
    """Learns the classes one by one; what each took goes to processes.jsonl."""
    log = folder / "processes.jsonl"
    done = len(log.read_text().splitlines()) if log.exists() else 0
    memory = f"--memory={folder}/memory"
    for number in range(done + 1, len(names) + 1):
        command = [
            "trainers.learn", memory, f"--images={folder}/images/{number:02d}",
            f"--test_images={folder}/tests", f"--image_size={SIZE}", "--checkpoint_every=50",
            *given.flags,
        ]  # fmt: skip
        entry: dict[str, Any] = {"task": number, "class": names[number - 1]}
        if number == given.kill_at:
            unfinished = folder / "memory" / "checkpoints" / "unfinished"
            entry["killed"] = measured(command, killed_in=unfinished)
        entry["learn"] = measured(command)
        entry["audit"] = measured(["trainers.audit", memory])
        print(json.dumps(entry), flush=True)
        if entry["learn"]["code"] or entry["audit"]["code"]:
            sys.exit(f"the process of class {number} failed: {entry}")
        with open(log, "a") as file:
            file.write(json.dumps(entry) + "\n")


def single_stream(folder: Path, names: Sequence[str], flags: Sequence[str]) -> None:
    """Learns the same images of all classes from one stream of twenty tasks."""
    from dgm_tf.data.datasets import ImageData
    from dgm_tf.data.stream import class_incremental
    from dgm_tf.experiments.options import RunOptions, SettingsOptions
    from dgm_tf.experiments.run import Run
    from dgm_tf.methods.registry import new_learner
    from trainers import learn

    parsed = learn.define().parse([f"--memory={folder}", f"--images={folder}", *flags])
    chosen = SettingsOptions(**parsed.among(SettingsOptions))
    settings = chosen.resolve("folder", parsed.among(*learn.SETTINGS))
    places = [folder / "images" / f"{n:02d}" / name for n, name in enumerate(names, start=1)]
    train, labels = _read(places)
    test, test_labels = _read([folder / "tests" / name for name in names])
    data = ImageData(
        name="twenty", train_images=train, train_labels=labels, test_images=test,
        test_labels=test_labels, class_names=tuple(names), source="MNIST, then Fashion-MNIST",
        image_size=SIZE,
    )  # fmt: skip
    stream = class_incremental(data, validation_fraction=0.0)
    learner = new_learner(chosen.method, settings, stream)
    Run(stream, learner, RunOptions(run_dir=str(folder / "single"), oracle=False)).run()


def _read(places: Sequence[Path]) -> tuple[Any, Any]:
    """Images uint8 [N, 32, 32, 1], as a memory reads them, and class ids int64 [N]."""
    import numpy as np

    from dgm_tf.data.image_folder import read_all

    read = read_all({place: sorted(place.iterdir()) for place in places}, SIZE)
    parts = [found.images[..., :1] for found in read.values()]
    labels = np.repeat(np.arange(len(parts)), [*map(len, parts)])
    return np.concatenate(parts), labels


def compared(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The row: accuracies, whether the bits are the same, the audits, seconds and memory."""
    from dgm_tf.runs import provenance

    entries = [json.loads(line) for line in (folder / "processes.jsonl").read_text().splitlines()]
    finished = {name: _state(folder / name, len(entries)) for name in ("memory", "single")}
    accuracy = {name: 100 * row["average_accuracy"] for name, (row, _) in finished.items()}
    arrays, others = (found for _, found in finished.values())
    row: dict[str, Any] = {
        "train": given.train,
        "test": given.test,
        "flags": " ".join(given.flags),
        "killed_in_task": given.kill_at,
        "classes": len(entries),
        "A_processes": round(accuracy["memory"], 2),
        "A_single": round(accuracy["single"], 2),
        "difference": round(accuracy["memory"] - accuracy["single"], 2),
        "same_bits": arrays == others,
        "clean_audits": sum(entry["audit"]["code"] == 0 for entry in entries),
    }
    for number in (number for number in _SHOWN if number <= len(entries)):
        entry = entries[number - 1]
        row[f"seconds_{number}"] = entry["learn"]["seconds"]
        row[f"audit_seconds_{number}"] = entry["audit"]["seconds"]
        row[f"peak_mib_{number}"] = entry["learn"]["peak_mib"]
    machine = provenance.machine()
    row["machine"] = f"{machine['cores']} cores, {machine['cpu']}"
    return row | {"date": provenance.today()}


def _state(run: Path, task: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run's row of a task, and everything that its learner is made of then."""
    from dgm_tf.runs.run_folder import RunFolder

    row, meta, arrays = RunFolder(run).saved(task)
    found = {name: (array.shape, array.tobytes()) for name, array in arrays.items()}
    return row, {**found, "meta": meta}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/twenty"))
    parser.add_argument("--train", type=int, default=500, help="training images of each class")
    parser.add_argument("--test", type=int, default=200, help="test images of each class")
    parser.add_argument("--classes", type=int, default=20, help="for trials: the first so many")
    parser.add_argument("--kill_at", type=int, default=7, help="task to kill once; 0 for none")
    parser.add_argument("--part", choices=PARTS, help="only one of the parts, in this process")
    given, given.flags = parser.parse_known_args()
    folder = given.folder
    if given.part == "images":
        write_images(folder, train=given.train, test=given.test)
    elif given.part == "processes":
        learn_in_processes(folder, _names(folder)[: given.classes], given)
    elif given.part == "single":
        single_stream(folder, _names(folder)[: given.classes], given.flags)
    elif given.part == "compare":
        write_row(folder, compared(folder, given))
    else:
        for part in PARTS if not (folder / "classes.json").exists() else PARTS[1:]:
            command = [sys.executable, "-m", "studies.twenty.twenty", f"--part={part}"]
            subprocess.run([*command, *sys.argv[1:]], check=True)


def _names(folder: Path) -> list[str]:
    return json.loads((folder / "classes.json").read_text())


def write_row(folder: Path, row: dict[str, Any]) -> None:
    """Writes the row as JSON and as CSV, and prints it."""
    (folder / "twenty.json").write_text(json.dumps(row, indent=1) + "\n")
    with open(folder / "twenty.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
