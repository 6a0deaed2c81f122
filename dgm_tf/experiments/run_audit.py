"""The audit of a whole run folder: its memory, its reserved weights, its masks and its log.

The images of each task's audit record are generated again from the newest checkpoint and from those
before it, checkpoints are compared with those before them, and the log with both. Of more than 20
checkpoints 20 are looked at, and 20 records in each but the newest, unless all are asked for: all
is quadratic in the number of tasks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dgm_tf import _checks, memories
from dgm_tf.errors import InputError
from dgm_tf.evaluation import memory_audit
from dgm_tf.evaluation.memory_audit import ROUNDING, Difference
from dgm_tf.evaluation.sampling import AUDITED, some_of
from dgm_tf.experiments.generator_audit import GeneratorFindings, inspect
from dgm_tf.learners.dgm import DGM
from dgm_tf.learners.learner import Learner
from dgm_tf.methods.registry import check_known, generates, load_state
from dgm_tf.networks import Generator
from dgm_tf.reporting import tables
from dgm_tf.reporting.run import Run
from dgm_tf.runs import provenance
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.runs.run_format import origin


@dataclasses.dataclass(frozen=True)
class TaskFindings:
    """Findings about one finished task; None for a measure that could not be taken.

    Attributes:
        task: from 1.
        name: its number with the names of its classes.
        whole: the task's checkpoint is what was written.
        images: the images of this and all earlier tasks, generated from the task's checkpoint,
            against their records.
        generator: reserved weights, masks and free capacity, for DGM.
    """

    task: int
    name: str
    whole: bool
    images: Difference | None = None
    generator: GeneratorFindings | None = None


@dataclasses.dataclass(frozen=True)
class RunAudit:
    """Findings of the audit of a run; as a text, a table and a line for each fault.

    Attributes:
        path: the run's folder.
        scenario: one line: the stream and the learner.
        findings: one per task with a checkpoint.
        faults: a line each.
        remarks: gaps of the audit and other things to know, a line each.
        verdict: one line.
    """

    path: Path
    scenario: str
    findings: tuple[TaskFindings, ...]
    faults: tuple[str, ...]
    remarks: tuple[str, ...]
    verdict: str

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.scenario}"]
        if self.findings:
            header = ["task", "checkpoint", "images", "gated numbers", "reserved", "free/start"]
            lines.append(tables.text_table(header, [_cells(each) for each in self.findings]))
        lines += [f"wrong: {fault}" for fault in self.faults]
        return "\n".join([*lines, *self.remarks, f"verdict: {self.verdict}"])


def audit_run(folder: str | Path, *, every_checkpoint: bool = False) -> RunAudit:
    """Audits the run in a folder, finished or not; nothing is written.

    Args:
        folder: the run's.
        every_checkpoint: look at each checkpoint and at each record in it, however many there are.

    Raises:
        InputError: the folder holds no run, or one of a method that is not known here.
    """
    run = RunFolder(memories.folder(folder))
    if run.saved_tasks():
        check_known(run.description()["learner"].partition("-")[0], f"the run in {run.path}")
    return _Inspection(run, every=every_checkpoint).result()


class _Inspection:
    """One audit under way."""

    def __init__(self, run: RunFolder, *, every: bool) -> None:
        self._run, self._every = run, every
        self._description = run.description()
        self._name = self._description["learner"]
        self._exact = self._name.startswith("dgm-")
        self._faults: list[str] = []
        self._remarks: list[str] = []
        # By task, and by the checkpoint that generates other images of it.
        self._changed: dict[int, dict[int, Difference]] = {}
        self._rows = self._read_log()
        self._shown = Run(run.path, self._description, tuple(self._rows))
        self._saved = run.saved_tasks()
        self._looked_at = self._chosen(self._saved, seed=0)
        self._records = self._read_records()

    def _chosen(self, tasks: Sequence[int], seed: int) -> list[int]:
        return list(tasks) if self._every else some_of(tasks, AUDITED, seed=seed)

    def result(self) -> RunAudit:
        self._check_logged_memory()
        findings = self._check_checkpoints()
        verdict = self._weigh_changes() or self._verdict(findings)
        return RunAudit(
            path=self._run.path,
            scenario=f"{self._description['scenario']}; {self._name}",
            findings=tuple(findings),
            faults=tuple(self._faults),
            remarks=tuple(self._remarks),
            verdict=verdict,
        )

    # The log and the audit's records.

    def _read_log(self) -> list[dict[str, Any]]:
        try:
            return self._run.rows()
        except InputError as error:
            self._faults.append(str(error))
            return []

    def _read_records(self) -> dict[int, memory_audit.Record]:
        records = {}
        classes = {row["task"]: row["classes"] for row in self._rows}
        for task in sorted({*classes, *self._saved}):
            path = memory_audit.record_path(self._run.audit, task)
            if path.exists() or (self._saved and generates(self._name)):
                try:
                    records[task] = memory_audit.read(path)
                except InputError as error:
                    self._faults.append(str(error))
        for task, record in records.items():
            if classes.get(task) not in (None, record.classes.tolist()):
                self._faults.append(f"the audit record of task {task} is of other classes")
        return records

    def _check_logged_memory(self) -> None:
        """Looks for faults in the log itself, which may be all that is left of a run."""
        reserved: dict[str, int] = {}
        for row in self._rows if self._exact else ():
            task = row["task"]
            if differing := {of: count for of, count in row["audit"].items() if count}:
                self._faults.append(
                    f"after task {task} the log has differing pixels of task "
                    + ", ".join(f"{of}: {pixels}" for of, pixels in differing.items())
                )
            for layer in row.get("layers", ()):
                name = layer["layer"]
                if layer["free"] < layer["initial_free"]:
                    self._faults.append(
                        f"after task {task} the log has {layer['free']} free in {name}, which had "
                        f"{layer['initial_free']} before task 1"
                    )
                if layer["reserved"] < reserved.get(name, 0):
                    self._faults.append(f"after task {task} the log has fewer reserved in {name}")
                reserved[name] = layer["reserved"]

    # The checkpoints.

    def _check_checkpoints(self) -> list[TaskFindings]:
        if not self._saved:
            if self._rows:
                self._remarks.append(
                    "no checkpoints are here (they are not kept with committed results): whether "
                    "images, gated weights and masks kept their bits cannot be checked; the log "
                    "was checked only against itself"
                )
            return []
        if self._saved == [len(self._rows)] != [1]:
            self._remarks.append(
                "only the newest checkpoint is kept here; it generates the images of every task"
            )
        elif missing := sorted(set(range(1, self._saved[-1] + 1)) - set(self._saved)):
            tasks = _checks.one_line(", ".join(map(str, missing)))
            self._remarks.append(f"no checkpoint is here of task {tasks}")
        if len(self._rows) != self._saved[-1]:
            self._faults.append(
                f"the newest checkpoint is that of task {self._saved[-1]}, metrics.jsonl has "
                f"{len(self._rows)} rows (a run killed between the two leaves this: give its "
                "command again)"
            )
        findings, before = [], None
        if len(self._looked_at) < len(self._saved):
            self._remarks.append(
                f"{len(self._looked_at)} of {len(self._saved)} checkpoints were looked at, every "
                f"record in the newest, {AUDITED} in each other; --every_checkpoint looks at all"
            )
        for task in self._looked_at:
            try:
                finding, before = self._check_checkpoint(task, before)
            except InputError as error:
                self._faults.append(f"task {task}: {error}")
                finding = TaskFindings(task, self._shown.task_name(task), whole=False)
            findings.append(finding)
        return findings

    def _check_checkpoint(
        self, task: int, before: Generator | None
    ) -> tuple[TaskFindings, Generator | None]:
        """One checkpoint against the log, the records and the generator before it.

        Raises:
            InputError: the checkpoint cannot be read.
        """
        row, meta, arrays = self._run.saved(task)
        whole = row == self._row(task)
        if not whole:
            self._faults.append(
                f"task {task}: the row in the checkpoint is not that of metrics.jsonl"
            )
        learner = load_state(meta, arrays)
        if learner.finished_tasks != task:
            raise InputError(f"its checkpoint is one after {learner.finished_tasks} tasks")
        images = self._check_images(task, learner) if learner.generates else None
        finding = TaskFindings(task, self._shown.task_name(task), whole, images)
        if not isinstance(learner, DGM):
            return finding, before
        generator = learner.generator
        first_widths = learner.settings.first_widths(generator.image_shape[0])
        found = inspect(generator, before, first_widths)
        self._faults += [f"task {task}: {fault}" for fault in found.faults]
        if wrong := [
            key
            for key, value in learner.growth().items()
            if self._row(task).get(key, value) != value
        ]:
            self._faults.append(f"task {task}: the log's {', '.join(wrong)} are not as measured")
        return dataclasses.replace(finding, generator=found), generator

    def _check_images(self, checkpoint: int, learner: Learner) -> Difference | None:
        """Generates the images of all tasks up to the checkpoint's and compares them."""
        logged = self._row(checkpoint).get("audit", {})
        found = []
        recorded = sorted(set(range(1, checkpoint + 1)) & set(self._records))
        newest = checkpoint == self._saved[-1]
        for task in recorded if newest else self._chosen(recorded, seed=checkpoint):
            try:
                difference = memory_audit.compare(self._records[task], learner.generate)
            except ValueError as error:
                self._faults.append(
                    f"task {checkpoint}: its checkpoint cannot generate the images of task {task} "
                    f"({_checks.one_line(error)})"
                )
                continue
            found.append(difference)
            if difference.pixels and (self._exact or task == checkpoint):
                self._changed.setdefault(task, {})[checkpoint] = difference
            elif (
                self._row(checkpoint)
                and task < checkpoint
                and difference.pixels != logged.get(str(task))
                # Of many tasks the run itself has checked some.
                and (str(task) in logged or len(logged) < min(AUDITED, checkpoint - 1))
            ):
                self._faults.append(
                    f"task {checkpoint}: {difference.pixels} pixels of task {task} differ, the log "
                    f"has {logged.get(str(task))}"
                )
        return _sum(found) if found else None

    def _row(self, task: int) -> Mapping[str, Any]:
        return self._rows[task - 1] if task <= len(self._rows) else {}

    # The verdict.

    def _weigh_changes(self) -> str:
        """Takes images that differ for faults, unless the rounding of this machine explains all.

        Returns:
            The verdict where it does; else an empty text.
        """
        if not self._changed:
            return ""
        lines = [
            f"images of task {self._shown.task_name(task)} differ in the checkpoint of task "
            f"{', '.join(map(str, found))}: "
            f"{_pixels(max(found.values(), key=lambda one: one.pixels))}"
            for task, found in self._changed.items()
        ]
        furthest = [one.furthest for found in self._changed.values() for one in found.values()]
        elsewhere = provenance.elsewhere(origin(self._description, self._rows))
        if elsewhere and not self._faults and all(one <= ROUNDING for one in furthest):
            self._remarks += lines
            return f"not exact here, by at most {max(furthest):.2g}: {elsewhere}"
        self._faults += lines
        self._remarks += [elsewhere] if elsewhere else []
        return ""

    def _verdict(self, findings: Sequence[TaskFindings]) -> str:
        if self._faults:
            count = len(self._faults)
            return f"WRONG, {count} fault{'' if count == 1 else 's'}"
        if not findings:
            if self._rows:
                return "nothing wrong in the log; of the memory itself nothing could be checked"
            return "nothing to check: no task is finished"
        generated = [finding.images for finding in findings if finding.images is not None]
        if not generated:
            return "log and checkpoints hold; this method generates no images"
        if self._exact:
            count = len(generated)
            each = "every task generates"
            if count > 1:
                each = f"in each of {count} checkpoints {each}"
            if count < len(self._saved):
                each = f"every task, and in {count - 1} earlier checkpoints some, generate"
            # Whether a weight has moved is seen from one checkpoint to the next.
            gated = "gated weights, " if count > 1 else ""
            return (
                f"exact: {each} the images on record, bit for bit; {gated}masks, free capacity and "
                "log hold"
            )
        return (
            "log and checkpoints hold; this method drifts, at its last task by "
            f"{_pixels(generated[-1])}"
        )


def _sum(differences: Sequence[Difference]) -> Difference:
    furthest = [one.furthest for one in differences]
    return Difference(
        pixels=sum(one.pixels for one in differences),
        of=sum(one.of for one in differences),
        furthest=max(furthest, key=lambda one: (one != one, one)),  # NaN is beyond all
    )


def _pixels(difference: Difference) -> str:
    percent = 100 * difference.pixels / difference.of
    return (
        f"{difference.pixels} of {difference.of} pixels ({percent:.2g} %), by up to "
        f"{difference.furthest:.3g} on the scale of -1 to 1"
    )


def _cells(finding: TaskFindings) -> list[str]:
    images, generator = finding.images, finding.generator
    same = gated = reserved = free = "-"
    if images is not None:
        same = f"{images.pixels} of {images.of} pixels differ" if images.pixels else "identical"
    if generator is not None:
        reserved, free = f"{generator.reserved:,}", f"{generator.free:.2f}"
        if generator.gated is not None:
            gated = f"{generator.moved:,} of {generator.gated:,} moved"
    return [finding.name, "holds" if finding.whole else "WRONG", same, gated, reserved, free]
