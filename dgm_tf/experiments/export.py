"""Export of the memory of a run that has been learnt."""

from pathlib import Path

from dgm_tf import memories
from dgm_tf.errors import InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.methods.registry import load_state
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.serving.export import Export, audit_entry, export, version_folder
from dgm_tf.storage.files import check_writable
from dgm_tf.terminal.printing import say


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
    if export_dir is None:
        memories.check_not_written(memory, "name an --export_dir")
    folder = RunFolder(memories.folder(memory))
    _, meta, arrays = folder.state_after(task)
    place = export_dir or folder.path / "export"
    check_writable(version_folder(place), flag="--export_dir")  # The audit takes its time.
    learner = load_state(meta, arrays)
    if learner.method != "dgm":
        raise InputError(f"only DGM's memory can be exported, {folder.path} holds {learner.name}")
    pixels, differing, audit = 0, 0, []
    for number, classes in enumerate(learner.task_classes, start=1):
        record = memory_audit.read(memory_audit.record_path(folder.audit, number))
        found = memory_audit.compare(record, learner.generate)
        pixels, differing = pixels + found.of, differing + found.pixels
        if found.pixels or record.classes.tolist() != list(classes):
            # The export is of what the learner generates now.
            record = memory_audit.recorded(classes, learner.generate)
        audit.append(audit_entry(number, record))
    told = f"{differing} of {pixels} pixels differ" if differing else "all images identical"
    say(f"memory audit of {folder.path}: {told}")
    return export(learner, place, classifier=classifier, audit=audit)
