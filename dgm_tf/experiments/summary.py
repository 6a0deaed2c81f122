"""The lines that a run prints when a task is finished."""

from collections.abc import Mapping
from typing import Any

from dgm_tf.reporting.tables import duration


def task_summary(row: Mapping[str, Any], *, title: str, seconds_left: float | None = None) -> str:
    """The lines printed when a task is finished.

    Args:
        row: the task's row of metrics.jsonl (see `dgm_tf.reporting.tables`).
        title: the task by name, such as "task 3 of 10: class 2".
        seconds_left: a guess at the time that the remaining tasks will take.
    """
    left = f", about {duration(seconds_left)} to go" if seconds_left else ""
    steps = "" if row["steps"] is None else f", {row['steps']} steps"
    lines = [f"{title}: learnt in {duration(row['seconds'])}{steps}{left}"]
    measures = f"A{row['task']} {_percent(row['average_accuracy'])}"
    if row.get("not_measured"):
        seen, measured = len(row["classes_seen"]), len(row["class_accuracy"])
        measures += f" over {measured} of {seen} classes, of which there are test images"
        measures += " (--test_images=DIR measures others, too)"
    if row["average_accuracy"] is None:
        measures = "no test images at hand"
    if row.get("oracle_accuracy") is not None:
        measures += f", G{row['task']} {_percent(row['oracle_accuracy'])}"
    if row["forgetting"] is not None:
        fraction = {name: _percent(value) for name, value in row["newest_class_share"].items()}
        measures += f", forgetting {_percent(row['forgetting'])}"
        measures += f", newest classes {fraction['predictions']} of predictions"
        measures += f", {fraction['test_set']} of images"
    lines.append(measures)
    if row["audit"]:
        lines.append(f"memory audit: {_audit(row['audit'])}")
    if row.get("layer_widths"):
        lines.append(
            f"generator: {', '.join(map(str, row['layer_widths']))} units, "
            f"{row['generator_parameters']:,} parameters, {_percent(row['free_fraction'])} free"
        )
    broken = [name for name, value in row["last_epoch"].items() if value is None]
    if broken:
        lines.append(f"warning: not a finite number at the end: {', '.join(broken)}")
    return "\n  ".join(lines)


def _audit(differing_pixels: Mapping[Any, int]) -> str:
    differing = [
        f"task {task}: {pixels} pixels" for task, pixels in differing_pixels.items() if pixels
    ]
    if differing:
        return f"images differ ({', '.join(differing)})"
    count = len(differing_pixels)
    return f"images of {count} earlier task{'s' if count > 1 else ''} identical"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"
