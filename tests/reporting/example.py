"""A run made up for tests: rows as a trainer writes them, small enough to check by hand."""

import json

import numpy as np

from dgm_tf.reporting import pictures

SHAPE = (8, 8, 1)


def row(task, *, generates=True, **changes):
    """A task of one class; masks on weights, two layers of 4 and 2 units at first."""
    found = {
        "task": task,
        "classes": [task - 1],
        "classes_seen": list(range(task)),
        "average_accuracy": 1.0 - 0.01 * task,
        "class_accuracy": {str(label): 1.0 - 0.01 * task for label in range(task)},
        "forgetting": None if task == 1 else 0.01,
        "backward_transfer": None if task == 1 else -0.01,
        "newest_class_share": {"predictions": 1 / task, "test_set": 1 / task},
        "epochs": 2,
        "steps": 10,
        "seconds": 60.0 * task,
        "evaluation_seconds": 6.0,
        "peak_memory_mib": 500.0 + task,
        "last_epoch": {"critic_loss": -1.0},
        "history": {"critic_loss": [0.5, -1.0], "mask_sparsity": [0.5, 0.25]},
        "audit": {},
        "audit_pixels": {},
    }
    if generates:
        found |= {
            "audit": {str(earlier): 0 for earlier in range(1, task)},
            "audit_pixels": {str(each): 1024 for each in range(1, task + 1)},
            "initial_layer_widths": [4, 2],
            "layer_widths": [4 + task, 2],
            "generator_parameters": 100 * task,
            "free_fraction": 0.5,
            # Every task takes 10 free weights, and growth makes up for them.
            "layers": [
                {"layer": "block_1", "reserved": 7 * task, "free": 30, "initial_free": 30},
                {"layer": "block_2", "reserved": 3 * task, "free": 10, "initial_free": 10},
            ],
            # And uses 4 of each earlier one's.
            "mask_overlap": [4] * (task - 1) + [10 + 4 * (task - 1)],
        }
    return found | changes


def description(*, tasks=3, learner="dgm-w", seed=0, **settings):
    return {
        "scenario": f"class-incremental, {tasks} tasks of 1 class, toys",
        "learner": learner,
        "settings": {"variant": "w", "epochs": 2, "seed": seed} | settings,
        "stream": {
            "name": "toys",
            "source": "made up",
            "fingerprint": "f00",
            "task_classes": [[label] for label in range(tasks)],
            "class_names": [f"toy <{label}>" for label in range(tasks)],
            "image_shape": list(SHAPE),
            "validation_fraction": 0.1,
        },
        "command": "python -m trainers.toys --name='a & b'",
        "seed": seed,
        "versions": {"python": "3.11.7"},
        "machine": {"cores": 2, "cpu": "some", "memory_gib": 8.0, "gpus": [], "system": "Linux"},
        "date": "2018-12-01",
    }


def write_run(folder, rows, described=None, *, samples=()):
    """Makes a run folder, with pictures after the tasks in `samples`; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    described = description() if described is None else described
    (folder / "settings.json").write_text(json.dumps(described))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for task in samples:
        classes = pictures.shown_classes(rows[task - 1]["classes_seen"], rows[task - 1]["classes"])
        images = np.concatenate([class_images(label, task) for label in classes])
        labels = np.repeat(classes, pictures.PER_CLASS).tolist()
        path = folder / "samples" / f"task-{task:02d}.png"
        pictures.sample_grid(images, pictures.PER_CLASS, path, labels=labels)
    return folder


def class_images(label, task):
    """Ten images [10, 8, 8, 1] that only this class has after this task."""
    random = np.random.RandomState(100 * label + task)
    return random.uniform(-1, 1, (pictures.PER_CLASS, *SHAPE)).astype(np.float32)
