"""Readers of foreign files, as functions of a file's bytes; a fuzzer or a test feeds them.

A target may end normally or with an `InputError` of one line. Everything else is a finding.
"""

import tempfile
from pathlib import Path

from dgm_tf.errors import InputError


def settings(content: bytes) -> None:
    """`settings.json` of a run, read and used as a report uses it."""
    from dgm_tf.reporting.run import read_run

    with _folder() as folder:
        (folder / "settings.json").write_bytes(content)
        run = read_run(folder)
        for label in range(3):
            run.class_name(label)
        assert isinstance(f"{run.scenario}{run.method}{run.dataset}{run.seed}", str)
        assert run.tasks >= 0 and len(run.settings) >= 0


def metrics(content: bytes) -> None:
    """`metrics.jsonl` of a run, read and printed."""
    from dgm_tf.reporting import tables
    from dgm_tf.reporting.run import read_run
    from tests.reporting.example import write_run

    with _folder() as folder:
        write_run(folder, [])
        (folder / "metrics.jsonl").write_bytes(content)
        assert tables.run_report(read_run(folder))


def state(content: bytes) -> None:
    """`state.json` of a checkpoint, beside arrays that are whole."""
    from dgm_tf.storage import checkpoint

    with _folder() as folder:
        checkpoint.save(folder / "c", {"tasks": [[0]]}, _arrays())
        (folder / "c" / "state.json").write_bytes(content)
        meta, _ = checkpoint.load(folder / "c")
        assert isinstance(meta, dict)


def arrays(content: bytes) -> None:
    """`arrays.safetensors` of a checkpoint whose record of it is that of these very bytes."""
    from dgm_tf.storage import checkpoint
    from tests import damages

    with _folder() as folder:
        checkpoint.save(folder / "c", {}, _arrays())
        damages.resealed(folder / "c", arrays=content)
        _, found = checkpoint.load(folder / "c")
        assert sum(array.nbytes for array in found.values()) <= len(content)


def record(content: bytes) -> None:
    """A record of the memory audit."""
    from dgm_tf.evaluation import memory_audit

    with _folder() as folder:
        path = memory_audit.record_path(folder, 1)
        path.write_bytes(content)
        found = memory_audit.read(path)
        assert len(found.images) % len(found.classes) == 0


def image(content: bytes) -> None:
    """An image of a folder of images, beside one that is whole."""
    from dgm_tf.data import image_folder

    with _folder() as folder:
        for name in "ab":
            (folder / name).mkdir()
            for number in range(2):
                (folder / name / f"{number}.ppm").write_bytes(b"P5 1 1 255\n%c" % number)
        (folder / "a" / "2.png").write_bytes(content)
        found = image_folder.from_folder(folder, image_size=16)
        assert len(found.train_images) + len(found.test_images) == 5


def description(content: bytes) -> None:
    """`model.json` of an exported model, read and used; no model is beside it."""
    from dgm_tf.serving.loading import ExportedModel, read_description

    with _folder() as folder:
        (folder / "assets").mkdir()
        (folder / "assets" / "model.json").write_bytes(content)
        found = ExportedModel(folder, read_description(folder), None)
        classes = found.classes_seen
        assert len(found.class_names) == len(set(classes)) and min(found.class_tasks) == 1
        for text in (*found.class_names, *found.versions.values()):
            assert len(text.encode().splitlines()) < 2
        assert min(found.image_shape) * found.noise_length > 0


TARGETS = {
    target.__name__: target
    for target in (settings, metrics, state, arrays, record, image, description)
}


def feed(name: str, content: bytes) -> str | None:
    """Gives a target its bytes; the text of its `InputError`, None where there was none."""
    try:
        TARGETS[name](content)
    except InputError as error:
        assert len(str(error).splitlines()) == 1, "an error of several lines"
        return str(error)
    return None


def _arrays():
    import numpy as np

    return {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(7)}


class _folder(tempfile.TemporaryDirectory):
    def __enter__(self) -> Path:
        return Path(super().__enter__())
