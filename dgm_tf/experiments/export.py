"""Export of the memory of a run that has been learnt."""

from pathlib import Path

from dgm_tf.errors import InputError
from dgm_tf.evaluation.memory_audit import MemoryAudit
from dgm_tf.registry import load_state
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.serving.export import Export


def export_run(
    memory: str | Path,
    *,
    task: int | None = None,
    export_dir: str | Path | None = None,
    classifier: bool = False,
) -> Export:
    """Repeats a run's memory audit as it was after a task, and exports that memory.

    Args:
        memory: folder of a memory or another run.
        task: from 1; None for the last one finished.
        export_dir: NAME, which gets the memory as NAME/<n>; None for `export` in the run's folder.
        classifier: export the classifier, too.

    Raises:
        InputError: no such run or task, or a run of a method without memory.
    """
    folder = RunFolder(memory)
    _, meta, arrays = folder.state_after(task)
    learner = load_state(meta, arrays)
    if learner.method != "dgm":
        raise InputError(f"only DGM's memory can be exported, {folder.path} holds {learner.name}")
    audit = MemoryAudit(folder.audit, finished_tasks=learner.finished_tasks)
    pixels, differing = sum(audit.pixels.values()), sum(audit.check(learner.generate).values())
    found = f"{differing} of {pixels} pixels differ" if differing else "all images identical"
    print(f"memory audit of {folder.path}: {found}", flush=True)
    return learner.export(export_dir or folder.path / "export", classifier=classifier)
