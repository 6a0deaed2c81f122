"""Export of the memory of a run that has been learnt."""

from pathlib import Path

from dgm_tf import memories
from dgm_tf.errors import InputError
from dgm_tf.methods.registry import load_state
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.serving.export import Export, export


def export_run(
    memory: str | Path,
    *,
    task: int | None = None,
    export_dir: str | Path | None = None,
    classifier: bool = False,
) -> Export:
    """Exports the memory that a run had after a task.

    Args:
        memory: folder of a memory or another run.
        task: from 1; None for the last one finished.
        export_dir: NAME, which gets the memory as NAME/<n>; None for `export` in the run's folder.
        classifier: export the classifier, too.

    Raises:
        InputError: no such run or task, or a run of a method without memory.
    """
    if export_dir is None:
        memories.check_not_written(memory, "name an --export_dir")
    folder = RunFolder(memories.folder(memory))
    _, meta, arrays = folder.state_after(task)
    place = export_dir or folder.path / "export"
    learner = load_state(meta, arrays)
    if learner.method != "dgm":
        raise InputError(f"only DGM's memory can be exported, {folder.path} holds {learner.name}")
    return export(learner, place, classifier=classifier)
