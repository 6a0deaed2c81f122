"""Learners in folders: written whole, read back from a save or from the folder of a run."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dgm_tf import memories
from dgm_tf.data.datasets import NAMES
from dgm_tf.errors import InputError
from dgm_tf.methods import registry
from dgm_tf.runs import provenance
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage import checkpoint, paths, schema
from dgm_tf.storage.files import locked_name, read_text, recover, refuse_links_out, to_recover

_SAVED = "saved"  # the key that tells a save from a run's checkpoint
_ORIGIN = "origin"


def save(learner: Any, path: str | os.PathLike[str]) -> Path:
    """Writes a learner into a folder; see `Learner.save`."""
    folder = paths.expanded(path)
    if not learner.finished_tasks:
        raise InputError("nothing has been learnt yet, so that there is nothing to save")
    if not folder.name:
        raise InputError(f"{folder} cannot be replaced while it is open: name a folder in it")
    with locked_name(folder):
        if RunFolder(folder).exists():
            raise InputError(
                f"{folder} is the folder of a run, or of a memory that commands extend, which "
                "Python reads and does not write: name another folder"
            )
        if os.path.lexists(folder) and not _may_be_replaced(folder):
            raise InputError(
                f"{folder} exists and is no saved learner, or a damaged one, so it is not "
                "replaced: name another folder, or delete it"
            )
        meta, arrays = learner.state()
        origin = learner.origin or {
            "versions": provenance.versions(),
            "machine": provenance.machine(),
        }
        marks = {_SAVED: True, _ORIGIN: {key: origin[key] for key in ("versions", "machine")}}
        return checkpoint.save(folder, {**meta, **marks}, arrays)


def load(
    path: str | os.PathLike[str],
    *,
    task: int | None = None,
    stream: Any = None,
    classifier: Callable[..., Any] | None = None,
) -> Any:
    """Loads a learner from where it was written, to use it or to teach it more classes.

    It has the bits that were written: on a machine of the same class it generates the same images,
    and learns further exactly as the saved learner would have.

    Args:
        path: what `Learner.save` has written, or the folder of a run; or "digits-demo", where no
            folder has that name, for the memory of the ten digits that comes with the package.
        task: of a run, the task (from 1) after which; by default the last one finished.
        stream: for joint training that is to learn further, the stream that it reads.
        classifier: the function that made the learner's classifier, if there is one and the
            learner is to learn further.

    Returns:
        The learner, of the class that was saved.

    Raises:
        InputError: there is no learner, it is damaged, the run has not finished that task, or the
            method has no classifier that a function could make.

    Example:
        ```python
        model = dgm_tf.NearestMean()
        model.learn((np.zeros([4, 16, 16, 1], np.uint8), ["a"] * 4))
        model.save("memory")

        model = dgm_tf.load("memory")  # another day, another process
        model.learn((np.full([4, 16, 16, 1], 255, np.uint8), ["b"] * 4))
        print(model.class_names)
        ```
    """
    folder = memories.folder(path)
    if to_recover(folder):
        with locked_name(folder):
            recover(folder)
    found = None
    while found is None:
        before = _mark(folder)
        try:
            found = _read(path, folder, task)
        except InputError:
            if _mark(folder) == before:
                raise
    origin, meta, arrays = found
    options = {} if classifier is None else {"classifier": classifier}
    learner = registry.load_state(meta, arrays, stream=stream, **options)
    learner.origin = origin
    return learner


def _mark(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from one that has taken its place while it was read."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


def _read(path: Any, folder: Path, task: int | None) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Where a learner's images were made, its dictionary and its arrays."""
    if (folder / checkpoint.STATE_FILE).is_file():
        meta, arrays = _saved(folder, task)
        if (origin := meta.pop(_ORIGIN, None)) is not None:
            with registry.reading_state():
                schema.check(origin, {"versions": {}, "machine": {}})
        return origin, meta, arrays
    if (folder / "settings.json").is_file():
        return RunFolder(folder).state_after(task)
    data = f"; the data set {path} is read by dgm_tf.load_data" if str(path) in NAMES else ""
    if any(folder.glob("saved_model.pb")) or any(folder.glob("*/saved_model.pb")):
        data = "; an exported model is read by dgm_tf.load_exported"
    raise InputError(
        f"expected the folder of a saved learner or of a run, {folder} is neither: name one "
        f"that model.save or a trainer has written{data}"
    )


def _saved(folder: Path, task: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    refuse_links_out(folder)
    meta, arrays = checkpoint.load(folder)
    if not meta.pop(_SAVED, False):
        raise InputError(
            f"{folder} is a checkpoint in the folder of a run: load that folder, with task= for "
            "a task of it"
        )
    if task is not None:
        raise InputError(
            f"{folder} is a saved learner, as it was after its last task; task={task} can be asked "
            "of the folder of a run"
        )
    return meta, arrays


def _may_be_replaced(folder: Path) -> bool:
    """Returns whether there is a save, whole or with damaged arrays, or an empty folder."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        text = read_text(folder / checkpoint.STATE_FILE, limit=checkpoint.MAX_STATE_BYTES)
        state = json.loads(text)
        return state["format"] == checkpoint.FORMAT and bool(state["meta"][_SAVED])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
