"""A learner in words."""

from collections.abc import Sequence
from typing import Any

_SHOWN_TASKS = 20
_SHOWN_NAMES = 6


def line(learner: Any) -> str:
    """One line, for `repr`: the method, tasks, classes and images."""
    kind = f"{type(learner).__name__} {learner.name}"
    if not learner.finished_tasks:
        return f"<{kind}: nothing learnt yet>"
    tasks, names = learner.finished_tasks, learner.class_names
    return (
        f"<{kind}: {_counted(tasks, 'task')}, {_counted(len(names), 'class')} "
        f"({_shortened(names, _SHOWN_NAMES)}), images {_size(learner.image_shape)}>"
    )


def summary(learner: Any) -> str:
    """A few lines: each task's classes, the generator's size and free capacity, bytes."""
    if not learner.finished_tasks:
        return line(learner)
    lines = [line(learner).strip("<>"), *_tasks(learner), *_generator(learner.growth())]
    arrays = learner.state()[1]
    lines.append(f"state       {_bytes(sum(array.nbytes for array in arrays.values()))}")
    return "\n".join(lines)


def _tasks(learner: Any) -> list[str]:
    names = dict(zip(learner.classes_seen, learner.class_names, strict=True))
    rows = [
        f"task {number:<6} {', '.join(_class(label, names[label]) for label in classes)}"
        for number, classes in enumerate(learner.task_classes, start=1)
    ]
    if len(rows) > _SHOWN_TASKS:
        half = _SHOWN_TASKS // 2
        rows[half:-half] = [f"...         {len(rows) - 2 * half} tasks more"]
    return rows


def _class(label: int, name: str) -> str:
    return name if name == str(label) else f"{label} ({name})"


def _generator(growth: dict[str, Any]) -> list[str]:
    lines = []
    if "generator_parameters" in growth:
        lines.append(f"generator   {growth['generator_parameters']:,} parameters")
    if "layer_widths" in growth:
        widths, first = (
            ", ".join(map(str, growth[key])) for key in ("layer_widths", "initial_layer_widths")
        )
        lines.append(f"widths      {widths} (at first {first})")
        lines.append(f"free        {100 * growth['free_fraction']:.1f} %")
    return lines


def _shortened(names: Sequence[str], count: int) -> str:
    more = [f"and {len(names) - count} more"] if len(names) > count else []
    return ", ".join([*names[:count], *more])


def _counted(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _size(image_shape: Sequence[int]) -> str:
    return "x".join(map(str, image_shape))


def _bytes(number: int) -> str:
    return f"{number / 2**20:.2f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"
