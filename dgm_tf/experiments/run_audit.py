"""The audit of a whole run folder: its memory, its reserved weights, its masks and its log.

Everything is found out anew from what lies in the folder. The images of each task's audit record
are generated again from every checkpoint, checkpoints are compared with those before them, and the
log with both.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import _checks, provenance
from dgm_tf.errors import InputError
from dgm_tf.evaluation import audit
from dgm_tf.evaluation.accuracy import AccuracyMatrix
from dgm_tf.experiments import experiment
from dgm_tf.experiments.generator_audit import GeneratorFindings, inspect
from dgm_tf.learners.base import Learner
from dgm_tf.learners.dgm import DGM
from dgm_tf.networks import Generator
from dgm_tf.reporting import tables
from dgm_tf.runs import chain
from dgm_tf.runs.run_folder import RunFolder, growth_csv, identity
from dgm_tf.runs.run_format import MAX_METRICS_BYTES, check_rows
from dgm_tf.storage.files import read_text

_NOTHING = "-"


@dataclasses.dataclass(frozen=True)
class TaskFindings:
    """What was found out about one finished task; None where it could not be.

    Attributes:
        task: from 1.
        whole: the task's checkpoint is there and is what was written; None: it is not there.
        images: the images of this and all earlier tasks, drawn from the task's checkpoint, against
            their records.
        generator: reserved weights, masks and free capacity, for DGM.
        linked: the row of metrics.jsonl has its link; None: it never had one.
    """

    task: int
    whole: bool | None = None
    images: audit.Difference | None = None
    generator: GeneratorFindings | None = None
    linked: bool | None = None


@dataclasses.dataclass(frozen=True)
class RunAudit:
    """What the audit of a run found.

    Attributes:
        path: the run's folder.
        scenario: one line that says what was learnt, and the learner.
        findings: one per finished task.
        faults: what is wrong, a line each.
        remarks: what could not be checked, and other things to know, a line each.
        verdict: one line.
        head: the last link of the log's chain; None without one.
    """

    path: Path
    scenario: str
    findings: tuple[TaskFindings, ...]
    faults: tuple[str, ...]
    remarks: tuple[str, ...]
    verdict: str
    head: str | None

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.scenario}"]
        if any(finding != TaskFindings(finding.task) for finding in self.findings):
            lines.append(_table(self.findings))
        lines += [f"wrong: {fault}" for fault in self.faults]
        lines += self.remarks
        if self.head is not None:
            lines.append(f"last link of the log: {self.head}")
        return "\n".join([*lines, f"verdict: {self.verdict}"])


def audit_run(folder: str | Path) -> RunAudit:
    """Audits the run in a folder, finished or not; nothing is written.

    Raises:
        InputError: the folder holds no run.
    """
    run = RunFolder(folder)
    if not (run.path / "settings.json").is_file():
        raise InputError(
            f"expected the folder of a run, with settings.json in it, received {folder}; name a "
            "folder that a trainer has written"
        )
    return _Inspection(run, run.description()).result()


class _Inspection:
    """One audit under way."""

    def __init__(self, run: RunFolder, description: Mapping[str, Any]) -> None:
        self._run = run
        self._description = description
        self._name = str(description.get("learner"))
        self._exact = self._name.startswith("dgm-")
        self._faults: list[str] = []
        self._remarks: list[str] = []
        # By task: the checkpoints that draw its images otherwise, and the worst of them.
        self._changed: dict[int, tuple[list[int], audit.Difference]] = {}
        self._rows = self._read_log()
        self._saved = run.saved_tasks()
        self._records = self._read_records()

    def result(self) -> RunAudit:
        broken, head = self._check_chain()
        self._check_tables()
        self._check_logged_memory()
        findings = self._check_checkpoints()
        rows = {row["task"]: row for row in self._rows}
        for task in sorted({*rows, *findings}):
            finding = findings.get(task, TaskFindings(task))
            linked = None
            if task in rows and chain.LINK in rows[task]:
                linked = broken is None or task < broken
            findings[task] = dataclasses.replace(finding, linked=linked)
        ordered = tuple(findings[task] for task in sorted(findings))
        if any(finding.images and finding.images.pixels for finding in ordered) and self._faults:
            self._remarks += self._elsewhere()
        return RunAudit(
            path=self._run.path,
            scenario=f"{self._description.get('scenario')}; {self._name}",
            findings=ordered,
            faults=tuple(self._faults),
            remarks=tuple(self._remarks),
            verdict=self._verdict(ordered),
            head=head,
        )

    # The log.

    def _read_log(self) -> list[dict[str, Any]]:
        path = self._run.path / "metrics.jsonl"
        try:
            text = read_text(path, limit=MAX_METRICS_BYTES) if path.exists() else ""
            rows = [json.loads(line) for line in text.splitlines()]
        except (OSError, ValueError, RecursionError) as error:
            self._faults.append(f"metrics.jsonl cannot be read ({_checks.one_line(error)})")
            return []
        try:
            check_rows(rows, tasks=len(rows))
        except ValueError as error:
            self._faults.append(
                "metrics.jsonl does not hold one row per task, from task 1 on "
                f"({_checks.one_line(error)})"
            )
            return []
        return rows

    def _check_chain(self) -> tuple[int | None, str | None]:
        """The first task whose link does not hold, and the last link."""
        linked = [row["task"] for row in self._rows if chain.LINK in row]
        if not linked:
            if self._rows:
                self._remarks.append(
                    "the log has no chain (a version of dgm_tf without one wrote it): a change of "
                    "it shows only against the checkpoints"
                )
            return None, None
        if linked[0] > 1:
            self._remarks.append(f"the log's chain begins at task {linked[0]}")
        broken = chain.first_broken(identity(self._description), self._rows)
        if broken is not None:
            self._faults.append(
                f"the log was changed: the link of task {broken} does not hold, so that "
                "settings.json or a row of metrics.jsonl up to that task is not what was written"
            )
        for row in self._rows:
            record = self._records.get(row["task"])
            if record is not None and row.get(chain.RECORD, record.digest()) != record.digest():
                self._faults.append(
                    f"the audit record of task {row['task']} is not the one in the log"
                )
        return broken, self._rows[-1].get(chain.LINK)

    def _check_tables(self) -> None:
        """The two tables that are made from the rows."""
        try:
            growth = (self._run.path / "growth.csv").read_text(encoding="utf-8")
            if growth != growth_csv(self._rows):
                self._faults.append("growth.csv is not what metrics.jsonl gives")
            wanted = AccuracyMatrix.from_rows(self._rows)
            found = AccuracyMatrix.from_csv(self._run.path / "accuracy_matrix.csv")
            if _matrix(found) != _matrix(wanted):
                self._faults.append("accuracy_matrix.csv is not what metrics.jsonl gives")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._faults.append(
                f"the tables cannot be compared with the log ({_checks.one_line(error)})"
            )

    def _check_logged_memory(self) -> None:
        """What the log itself says, which stands where there are no checkpoints."""
        reserved: dict[str, int] = {}
        for row in self._rows:
            task = row["task"]
            differing = {of: pixels for of, pixels in row.get("audit", {}).items() if pixels}
            if self._exact and differing:
                self._faults.append(
                    f"after task {task} the log has differing pixels of task "
                    + ", ".join(f"{of}: {pixels}" for of, pixels in differing.items())
                )
            for layer in row.get("layers", ()) if self._exact else ():
                name = layer["layer"]
                if layer["free"] < layer["initial_free"]:
                    self._faults.append(
                        f"after task {task} the log has {layer['free']} free in {name}, which had "
                        f"{layer['initial_free']} before task 1"
                    )
                if layer["reserved"] < reserved.get(name, 0):
                    self._faults.append(f"after task {task} the log has less reserved in {name}")
                reserved[name] = layer["reserved"]

    # The audit's records.

    def _read_records(self) -> dict[int, audit.Record]:
        records = {}
        for task in sorted({*(row["task"] for row in self._rows), *self._saved}):
            path = audit.record_path(self._run.audit, task)
            try:
                if path.exists():
                    records[task] = audit.read(path)
                elif self._saved and self._name != "joint":
                    self._faults.append(f"the audit record of task {task} is missing")
            except InputError as error:
                self._faults.append(str(error))
        return records

    # The checkpoints.

    def _check_checkpoints(self) -> dict[int, TaskFindings]:
        if not self._saved:
            if self._rows:
                self._remarks.append(
                    "no checkpoints are here (they are not kept with committed results): whether "
                    "images, gated weights and masks kept their bits cannot be checked; the log "
                    "was checked against itself alone"
                )
            return {}
        if missing := sorted(set(range(1, self._saved[-1] + 1)) - set(self._saved)):
            tasks = _checks.one_line(", ".join(map(str, missing)))
            self._remarks.append(f"no checkpoint is here of task {tasks}")
        if len(self._rows) != self._saved[-1]:
            self._faults.append(
                f"the newest checkpoint is that of task {self._saved[-1]}, metrics.jsonl has "
                f"{len(self._rows)} rows (a run killed between the two leaves this: give its "
                "command again)"
            )
        findings, before = {}, None
        for task in self._saved:
            try:
                findings[task], before = self._check_checkpoint(task, before)
            except InputError as error:
                self._faults.append(f"task {task}: {error}")
                findings[task] = TaskFindings(task, whole=False)
        for task, (checkpoints, worst) in self._changed.items():
            listed = ", ".join(map(str, checkpoints))
            self._faults.append(
                f"images of task {task} differ in the checkpoint of task {listed}: {_pixels(worst)}"
            )
        return findings

    def _check_checkpoint(
        self, task: int, before: Generator | None
    ) -> tuple[TaskFindings, Generator | None]:
        """One checkpoint against the log, the records and the generator before it.

        Raises:
            InputError: the checkpoint cannot be read.
        """
        rows, meta, arrays = self._run.saved(task)
        whole = self._check_saved(task, rows, chain.state_digest(meta, arrays))
        learner = experiment.restored_learner(self._name, meta, arrays)
        if learner.finished_tasks != task:
            raise InputError(f"its checkpoint is one after {learner.finished_tasks} tasks")
        images = self._check_images(task, learner) if learner.generates else None
        finding = TaskFindings(task, whole, images)
        if not isinstance(learner, DGM):
            return finding, before
        self._check_growth(task, learner)
        size = learner.settings.generator_size
        generator = learner.generator
        found = inspect(generator, before, initial_widths=(4 * size, 2 * size, size))
        self._faults += [f"task {task}: {fault}" for fault in found.faults]
        return dataclasses.replace(finding, generator=found), generator

    def _check_saved(self, task: int, rows: Sequence[Any], digest: str) -> bool:
        """Whether a checkpoint holds the log up to its task, and the state that the log names."""
        whole = rows == self._rows[:task]
        if not whole:
            self._faults.append(
                f"task {task}: the rows in the checkpoint are not those of metrics.jsonl"
            )
        if task <= len(self._rows) and self._rows[task - 1].get(chain.STATE, digest) != digest:
            self._faults.append(f"task {task}: the checkpoint's content is not the one in the log")
            whole = False
        return whole

    def _check_images(self, checkpoint: int, learner: Learner) -> audit.Difference | None:
        """Draws the images of all tasks up to the checkpoint's and compares them."""
        logged = self._rows[checkpoint - 1].get("audit") if checkpoint <= len(self._rows) else None
        found = []
        for task in sorted(set(range(1, checkpoint + 1)) & set(self._records)):
            try:
                difference = audit.compare(self._records[task], learner.generate)
            except ValueError as error:
                self._faults.append(
                    f"task {checkpoint}: its checkpoint cannot draw the images of task {task} "
                    f"({_checks.one_line(error)})"
                )
                continue
            found.append(difference)
            if difference.pixels and (self._exact or task == checkpoint):
                checkpoints, worst = self._changed.get(task, ([], difference))
                worst = max(worst, difference, key=lambda one: one.pixels)
                self._changed[task] = [*checkpoints, checkpoint], worst
            elif task < checkpoint and difference.pixels != (logged or {}).get(str(task)):
                self._faults.append(
                    f"task {checkpoint}: {difference.pixels} pixels of task {task} differ, the log "
                    f"has {(logged or {}).get(str(task))}"
                )
        return _sum(found) if found else None

    def _check_growth(self, task: int, learner: DGM) -> None:
        if task > len(self._rows):
            return
        row = self._rows[task - 1]
        # Older rows have fewer keys.
        wrong = [key for key, value in learner.growth().items() if row.get(key, value) != value]
        if wrong:
            self._faults.append(f"task {task}: the log's {', '.join(wrong)} are not as measured")

    # The verdict.

    def _verdict(self, findings: Sequence[TaskFindings]) -> str:
        drawn = [finding for finding in findings if finding.images is not None]
        if self._faults:
            count = len(self._faults)
            return f"WRONG, {count} fault{'' if count == 1 else 's'}"
        if not findings:
            return "nothing to check: no task is finished"
        if not self._saved:
            return "nothing wrong in the log; of the memory itself nothing could be checked"
        if not drawn:
            return "log and checkpoints hold; this method draws no images"
        checkpoints = f"{len(drawn)} checkpoint{'' if len(drawn) == 1 else 's'}"
        if self._exact:
            return (
                f"exact: in each of {checkpoints} every task draws the very images on record; "
                "gated weights, masks, free capacity and log hold"
            )
        last = drawn[-1].images
        return f"log and checkpoints hold; this method drifts, at its last task by {_pixels(last)}"

    def _elsewhere(self) -> list[str]:
        """A line if this is another machine or build than the run's: they round differently."""
        then = self._description.get("versions"), self._description.get("machine")
        here = provenance.versions(), provenance.machine()
        pairs = [("tensorflow", 0), ("cpu", 1), ("gpus", 1), ("onednn", 1)]
        other = [
            f"{key} {then[part][key]} then, {here[part][key]} here"
            for key, part in pairs
            if isinstance(then[part], dict)
            and key in then[part]  # older runs do not tell all of them
            and then[part][key] != here[part][key]
        ]
        if not other:
            return []
        return [f"images can differ because this is another machine or build: {'; '.join(other)}"]


def _matrix(matrix: AccuracyMatrix) -> list[dict[int, float]]:
    return [matrix.row(task) for task in range(1, len(matrix) + 1)]


def _sum(differences: Sequence[audit.Difference]) -> audit.Difference:
    return audit.Difference(
        pixels=sum(one.pixels for one in differences),
        of=sum(one.of for one in differences),
        furthest=float(np.max([one.furthest for one in differences])),
    )


def _pixels(difference: audit.Difference) -> str:
    share = 100 * difference.pixels / difference.of
    return (
        f"{difference.pixels} of {difference.of} pixels ({share:.2g} %), by up to "
        f"{difference.furthest:.3g} on the scale of -1 to 1"
    )


def _table(findings: Sequence[TaskFindings]) -> str:
    header = ["task", "log", "checkpoint", "images", "gated numbers", "reserved", "free/start"]
    return tables.text_table(header, [_cells(finding) for finding in findings])


def _cells(finding: TaskFindings) -> list[str]:
    images, generator = finding.images, finding.generator
    drawn = gated = reserved = free = _NOTHING
    if images is not None:
        drawn = f"{images.pixels} of {images.of} pixels differ" if images.pixels else "identical"
    if generator is not None:
        reserved, free = f"{generator.reserved:,}", f"{generator.free:.2f}"
        if generator.gated is not None:
            gated = f"{generator.moved:,} of {generator.gated:,} moved"
    words = {None: _NOTHING, True: "holds", False: "WRONG"}
    return [
        str(finding.task), words[finding.linked], words[finding.whole], drawn, gated, reserved, free
    ]  # fmt: skip
