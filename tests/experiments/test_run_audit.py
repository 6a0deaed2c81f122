"""The audit of a run finds nothing where nothing is wrong, and each kind of tampering."""

import json
import shutil

import numpy as np
import pytest

import dgm_tf
from dgm_tf.evaluation import memory_audit
from dgm_tf.experiments import run_audit
from dgm_tf.experiments.generator_audit import inspect
from dgm_tf.experiments.run_audit import audit_run
from dgm_tf.methods.registry import load_state
from dgm_tf.runs import finished_arrays, provenance
from dgm_tf.runs.run_folder import RunFolder
from dgm_tf.storage import checkpoint
from dgm_tf.storage.arrays import pack, unpack
from tests import tiny_run
from tests.damages import flip_a_bit
from trainers import audit as command


@pytest.fixture(autouse=True, scope="module")
def restored_once():
    """Learners of unchanged checkpoints are made once."""
    made, restored = {}, run_audit.load_state

    def cached(meta, arrays):
        key = json.dumps(meta, sort_keys=True), pack(arrays)
        if key not in made:
            made[key] = restored(meta, arrays)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_audit, "load_state", cached)
        yield


@pytest.fixture
def no_images(monkeypatch):
    """Without the generating of images, which takes most of the time and here finds nothing."""
    same = memory_audit.Difference(pixels=0, of=1, furthest=0.0)
    monkeypatch.setattr(memory_audit, "compare", lambda record, generate: same)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("w") / "run"
    return tiny_run.run(folder, tiny_run.MovedDGM(variant="w"))


@pytest.fixture(scope="module")
def finished_a(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a") / "run"
    return tiny_run.run(folder, tiny_run.MovedDGM(variant="a"))


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write_rows(folder, rows):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def edit_json(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def edit_state(folder, task, edit):
    """Changes a checkpoint's arrays and dictionary, and makes its own checksums good again."""
    paths = {each: folder / "checkpoints" / f"task-{each:02d}" for each in range(1, task + 1)}
    meta, arrays = checkpoint.load(paths[task])
    arrays |= unpack((paths[task] / finished_arrays.FILE).read_bytes())
    edit(meta, arrays)
    rest, own = finished_arrays.split(arrays, task)
    before = finished_arrays.read({each: paths[each] for each in range(1, task)})[0]
    meta["finished"] = finished_arrays.chain(before, own)
    checkpoint.save(paths[task], meta, rest, files={finished_arrays.FILE: own})


def faults(folder):
    return "\n".join(audit_run(folder).faults)


# What holds.


def test_a_run_that_kept_its_memory_is_proven_exact(run, finished_a, capsys):
    pixels = 16 * 16 * 16  # of sixteen images of one class
    for folder in (run, finished_a):
        found = [finding.images for finding in audit_run(folder).findings]
        assert [images.of for images in found] == [pixels, 3 * pixels, 4 * pixels]
        assert not any(images.pixels for images in found)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert command.main([str(run)]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1].startswith("verdict: exact: in each of 3 checkpoints")
    assert shown.count("identical") == 3 and shown.count("holds") == 3
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_reserved_weights_are_counted_as_the_learner_has_them(run, no_images):
    """The audit computes them from the masks' bits only, the growth table from the layers."""
    logged = [sum(layer["reserved"] for layer in row["layers"]) for row in rows_of(run)]
    found = audit_run(run).findings
    assert [finding.generator.reserved for finding in found] == logged
    assert 0 < logged[0] < logged[1] < logged[2] and found[0].generator.gated is None
    # The gated kernels, and the output layers and normalisations of finished tasks.
    assert found[2].generator.gated > logged[1]
    free = [min(x["free"] / x["initial_free"] for x in row["layers"]) for row in rows_of(run)]
    assert [finding.generator.free for finding in found] == free


def test_what_may_differ_or_move_is_no_fault(run, no_images):
    edit_json(run / "settings.json", lambda s: s.update(date="2018-12-01", command="another"))
    edit_state(run, 3, move_free)
    assert not faults(run)
    # An unfinished run is proven up to its last task.
    shutil.rmtree(run / "checkpoints" / "task-03")
    write_rows(run, rows_of(run)[:2])
    found = audit_run(run)
    assert not found.faults and len(found.findings) == 2


def test_a_run_that_has_just_begun_has_nothing_to_check(run, capsys):
    for name in ("checkpoints", "audit"):
        shutil.rmtree(run / name)
    write_rows(run, [])
    assert command.main([str(run)]) == 0
    assert "nothing to check" in capsys.readouterr().out


def test_a_method_that_drifts_is_measured_and_not_blamed(tmp_path, capsys):
    folder = tiny_run.run(tmp_path / "run", tiny_run.MovedFineTune(), tasks=2)
    found = audit_run(folder)
    assert not found.faults
    logged = [sum(row["audit"].values()) for row in rows_of(folder)]
    assert [finding.images.pixels for finding in found.findings] == logged
    assert logged[0] == 0 < logged[1] and 0 < found.findings[1].images.furthest <= 2
    assert command.main([str(folder)]) == 0
    assert "this method drifts, at its last task by " in capsys.readouterr().out
    rows = rows_of(folder)
    rows[1]["audit"]["1"] -= 1
    write_rows(folder, rows)
    assert f"the log has {rows[1]['audit']['1']}" in faults(folder)


def test_a_committed_run_without_checkpoints_says_what_was_not_checked(run, capsys):
    for name in ("checkpoints", "audit"):
        shutil.rmtree(run / name)
    assert command.main([str(run)]) == 0
    shown = capsys.readouterr().out
    assert "no checkpoints are here" in shown and "nothing could be checked" in shown
    rows = rows_of(run)
    rows[1]["audit"]["1"] = 5
    write_rows(run, rows)
    assert command.main([str(run)]) == 1
    shown = capsys.readouterr().out
    assert "after task 2 the log has differing pixels of task 1: 5" in shown


# Many checkpoints.


@pytest.fixture
def compared(monkeypatch):
    """The classes of each record that is compared, with audits that take 2 for many."""
    found, compare = [], memory_audit.compare

    def counted(record, generate):
        found.append(record.classes.tolist())
        return compare(record, generate)

    monkeypatch.setattr(memory_audit, "compare", counted)
    monkeypatch.setattr(run_audit, "AUDITED", 2)
    return found


def test_of_many_checkpoints_the_newest_is_compared_with_every_record(run, compared, capsys):
    assert command.main([str(run)]) == 0
    shown = capsys.readouterr().out
    # Of the checkpoints of tasks 1 to 3 the first and the last are looked at.
    assert compared == [[0], [0], [1, 2], [3]]
    assert "2 of 3 checkpoints were looked at" in shown and "--every_checkpoint" in shown
    assert "exact: every task, and in 1 earlier checkpoints some, generate the" in shown


def test_every_checkpoint_is_looked_at_where_that_is_asked_for(run, compared, capsys):
    assert command.main([f"--memory={run}", "--every_checkpoint"]) == 0
    assert compared == [[0], [0], [1, 2], [0], [1, 2], [3]]
    shown = capsys.readouterr().out
    assert "were looked at" not in shown and "exact: in each of 3 checkpoints" in shown


def change_record(folder, by):
    path = memory_audit.record_path(folder / "audit", 2)
    record = memory_audit.read(path)
    record.images[0, 0, 0, 0] += by
    path.write_bytes(pack({**vars(record), "sha256": memory_audit._bytes(record)}))


def test_a_change_in_the_newest_of_many_checkpoints_is_found(run, compared, capsys):
    change_record(run, 0.5)
    assert command.main([str(run)]) == 1
    assert "images of task 2 (b, c) differ in the checkpoint of" in capsys.readouterr().out


# Learners that do not keep what they promise.


def test_a_learner_without_a_gate_is_found_out(tmp_path):
    found = faults(tiny_run.run(tmp_path / "run", tiny_run.MovedDGM(gates=False), tasks=2))
    # What task 1 has reserved is on record, so that its own images come back; those of task 2,
    # which it has made with other weights, do not.
    assert "after task 2 the log has differing pixels of task 1: " in found
    assert "images of task 2 (b, c) differ in the checkpoint of task 2: " in found


@pytest.mark.parametrize("variant", ["w", "a"])
def test_a_generator_that_does_not_grow_is_found_out(tmp_path, variant, no_images):
    learner = tiny_run.MovedDGM(variant=variant, grows=False)
    found = faults(tiny_run.run(tmp_path / "run", learner, tasks=1))
    assert "task 1: block_1 has " in found and "before task 1" in found


# Tampering.


def change_row(**changes):
    def change(folder):
        rows = rows_of(folder)
        rows[1] |= changes
        write_rows(folder, rows)

    return change


def other_record(folder):
    """Another task's images, with a hash of their own that is right."""
    shutil.copy(*(folder / "audit" / f"task-0{task}.safetensors" for task in (1, 3)))


LOG = {
    "a number of a row": (change_row(steps=99), "task 2: the row in the checkpoint is not that"),
    "a time of a row": (change_row(seconds=1e-3), "task 2: the row in the checkpoint is not"),
    "the last row removed": (
        lambda folder: write_rows(folder, rows_of(folder)[:2]),
        "newest checkpoint is that of task 3, metrics.jsonl has 2 rows",
    ),
    "a row in the middle removed": (
        lambda folder: write_rows(folder, rows_of(folder)[::2]),
        "they are not numbered from 1 to 2",
    ),
    "a row that is none": (
        lambda folder: (folder / "metrics.jsonl").write_text("{]\n"),
        "expected a row per finished task",
    ),
    "its growth misstated": (
        change_row(generator_parameters=1),
        "task 2: the log's generator_parameters are not as measured",
    ),
    "another data set": (
        lambda folder: edit_json(
            folder / "settings.json", lambda s: s["stream"].update(fingerprint="f00")
        ),
        "task-01 is of a run with other settings",
    ),
    "another record": (other_record, "the audit record of task 3 is of other classes"),
    "no record": (
        lambda folder: (folder / "audit" / "task-02.safetensors").unlink(),
        "task-02.safetensors is missing",
    ),
    "a damaged record": (
        lambda folder: (folder / "audit" / "task-02.safetensors").write_bytes(b"?"),
        "task-02.safetensors cannot be read",
    ),
    "a damaged checkpoint": (
        lambda folder: flip_a_bit(folder / "checkpoints" / "task-02" / "arrays.safetensors"),
        "task 2: the checkpoint",
    ),
    "the newest checkpoint removed": (
        lambda folder: shutil.rmtree(folder / "checkpoints" / "task-03"),
        "newest checkpoint is that of task 2, metrics.jsonl has 3 rows",
    ),
    "a checkpoint of another task": (
        lambda folder: shutil.copytree(
            folder / "checkpoints" / "task-01",
            folder / "checkpoints" / "task-02",
            dirs_exist_ok=True,
        ),
        "task-02/finished.safetensors does not hold what task 2 has left",
    ),
}


@pytest.mark.parametrize("kind", LOG)
def test_a_changed_log_or_folder_is_noticed(run, kind, capsys, no_images):
    tamper, wanted = LOG[kind]
    tamper(run)
    assert command.main([str(run)]) == 1
    shown = capsys.readouterr().out
    assert wanted in shown and "verdict: WRONG" in shown


def move_free(meta, arrays):
    arrays["generator/block_2/kernel"][0] += 1  # of a kernel only the free weights are here


def filled(name, value):
    return lambda meta, arrays: arrays[name].fill(value)


STATE = {
    "another learner": (
        lambda meta, arrays: meta.pop("generator"),
        "task 3: the saved state is not that of such a learner (KeyError: 'generator')",
    ),
    "another number of tasks": (
        lambda meta, arrays: meta["tasks"].pop(),
        "task 3: the saved state has tasks",
    ),
}


@pytest.mark.parametrize("kind", STATE)
def test_a_changed_checkpoint_is_noticed(run, kind, no_images):
    tamper, wanted = STATE[kind]
    edit_state(run, 3, tamper)
    assert wanted in faults(run)


@pytest.mark.parametrize("name", ["block_2/kernel", "block_3/mask", "block_1/affine", "head"])
def test_what_a_task_has_left_for_good_cannot_be_changed_later(run, name, no_images):
    edit_state(run, 1, filled(f"finished/00001/{name}", 1))
    found = faults(run)
    for task in (2, 3):
        assert f"task {task}: " in found and "finished.safetensors is not what was written" in found


# A generator that is not what the one before it was, in memory.


def generators(folder):
    """Those of tasks 2 and 3, and the widths before task 1."""
    learners = [load_state(*RunFolder(folder).saved(task)[1:]) for task in (2, 3)]
    return *(learner.generator for learner in learners), learners[0].generator.initial_widths


def moved(block, place):
    kernel = block.kernel.numpy()
    kernel[place] = np.nextafter(kernel[place], np.float32(9))
    block.kernel.assign(kernel)


def test_a_gated_weight_that_moved_is_found_and_a_free_one_may(run):
    before, now, widths = generators(run)
    reserved = before.blocks[1].reserved.numpy() > 0
    moved(now.blocks[1], tuple(np.argwhere(now.blocks[1].reserved.numpy() == 0)[0]))
    assert not inspect(now, before, widths).faults
    moved(now.blocks[1], tuple(np.argwhere(reserved)[0]))
    (fault,) = inspect(now, before, widths).faults
    assert fault == f"1 of {reserved.sum()} gated numbers of block_2's kernel have moved"


def test_a_gated_weight_of_variant_a_is_one_between_reserved_units(finished_a):
    before, now, widths = generators(finished_a)
    units, inputs = (np.flatnonzero(before.blocks[n].reserved.numpy()) for n in (1, 0))
    free = now.blocks[0].reserved.numpy().argmin()
    moved(now.blocks[1], (0, 0, units[0], free))
    assert not inspect(now, before, widths).faults
    moved(now.blocks[1], (0, 0, units[0], inputs[0]))
    (fault,) = inspect(now, before, widths).faults
    assert fault.startswith("1 of ") and "block_2's kernel have moved" in fault


@pytest.mark.parametrize("value", [0, 2])
def test_what_is_reserved_must_be_the_union_of_the_masks(run, value):
    _, now, widths = generators(run)
    block = now.blocks[0]
    block.reserved.assign(np.full(block.reserved.shape, value, np.float32))
    (fault,) = inspect(now, None, widths).faults
    assert fault == "what block_1 has reserved is not the union of its tasks' masks"


def test_images_that_no_gate_explains_are_still_compared(run):
    """The newest checkpoint has none after it; its own task's output layer is changed."""

    edit_json(run / "settings.json", lambda s: s["machine"].update(cpu="Setun"))
    edit_state(run, 3, filled("finished/00003/head", 1))
    found = audit_run(run)
    (fault,) = found.faults
    assert fault.startswith("images of task 3 (d) differ in the checkpoint of task 3: ")
    # Another processor rounds differently: that is for the reader to weigh.
    assert any("cpu Setun then" in remark for remark in found.remarks)


ROUNDED = "verdict: not exact here, by at most 4e-07: images can differ because this is another"


@pytest.mark.parametrize(
    ("by", "machine", "changes", "code", "wanted"),
    [
        (4e-7, {"cpu": "Setun"}, {}, 0, ROUNDED),
        (4e-7, {}, {}, 1, "verdict: WRONG, 1 fault"),
        (2e-6, {"cpu": "Setun"}, {}, 1, "verdict: WRONG, 1 fault"),
        (np.nan, {"cpu": "Setun"}, {}, 1, "verdict: WRONG, 1 fault"),
        (4e-7, {"cpu": "Setun"}, {"steps": 99}, 1, "verdict: WRONG, 2 faults"),
    ],
    ids=["elsewhere", "here", "too far", "no number", "another fault"],
)
def test_only_the_rounding_of_another_machine_is_no_fault(
    run, capsys, by, machine, changes, code, wanted
):
    change_record(run, by)
    edit_json(run / "settings.json", lambda settings: settings["machine"].update(machine))
    change_row(**changes)(run)
    assert command.main([str(run)]) == code
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1].startswith(wanted)
    assert shown.count("images of task 2 (b, c) differ in the checkpoint of task 2, 3: 1 of ") == 1
    assert shown.count("cpu Setun then") == len(machine)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "expected one RUN or more"),
        (["nowhere"], "expected the folder of a run"),
        (["--task=1", "nowhere"], "unknown command line flag"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, wanted, capsys):
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and wanted in error


def test_a_folder_that_holds_no_run_hides_no_fault_of_another(run, tmp_path, no_images, capsys):
    nowhere = str(tmp_path / "nowhere")
    for change, code in (({}, 2), ({"steps": 99}, 1)):
        change_row(**change)(run)
        for order in ([nowhere, str(run)], [str(run), nowhere]):
            assert command.main(order) == code
            shown = capsys.readouterr()
            assert shown.out.count("verdict: ") == 1
            assert shown.err.startswith("error: expected the folder of a run")
            assert shown.err.count("\n") == 1


def test_images_that_a_checkpoint_cannot_generate_are_one_line(run, monkeypatch):
    def broken(record, generate):
        raise ValueError("no such\nclass")

    monkeypatch.setattr(memory_audit, "compare", broken)
    assert "its checkpoint cannot generate the images of task 1 (no such class)" in faults(run)


# A run that is continued on another machine.


def moved_run(folder, by):
    """Two tasks, made on another machine, which rounds an image of the second one otherwise."""
    tiny_run.run(folder, tiny_run.MovedDGM(variant="w"), tasks=2)
    edit_json(folder / "settings.json", lambda s: s["machine"].update(cpu="Setun"))
    change_record(folder, by)
    edit_state(folder, 2, lambda meta, arrays: meta["audit"][1].update(sha256="0" * 64))
    assert dgm_tf.load(folder).audit() == {1: True, 2: False}
    return folder


def test_what_another_machine_rounds_otherwise_is_taken_over(tmp_path, capsys):
    folder = moved_run(tmp_path / "run", 4e-7)
    told = "images can differ because this is another machine or build: cpu Setun then"
    tiny_run.run(folder, tiny_run.MovedDGM(variant="w"), verbosity=1)
    assert told in capsys.readouterr().out
    rows = rows_of(folder)
    assert rows[2]["audit"] == {"1": 0, "2": 0}
    assert rows[2]["machine"]["cpu"] != "Setun" and "machine" not in rows[1]
    assert command.main([str(folder)]) == 0
    assert "verdict: exact: in each of 3 checkpoints" in capsys.readouterr().out
    learner = dgm_tf.load(folder)
    assert learner.audit() == {1: True, 2: True, 3: True}
    assert learner.origin["machine"]["cpu"] != "Setun"
    # And on the first machine it is the images made here that are rounded otherwise.
    change_record(folder, 4e-7)
    edit_json(folder / "settings.json", lambda s: s.update(machine=provenance.machine()))
    rows[2]["machine"]["cpu"] = "Setun"
    write_rows(folder, rows)
    edit_state(folder, 3, lambda meta, arrays: meta["row"].update(rows[2]))
    assert "not exact here, by at most 4e-07" in audit_run(folder).verdict


def test_what_differs_by_more_than_rounding_is_not_taken_over(tmp_path):
    folder = moved_run(tmp_path / "run", 2e-6)
    tiny_run.run(folder, tiny_run.MovedDGM(variant="w"))
    assert rows_of(folder)[2]["audit"] == {"1": 0, "2": 1}
    assert audit_run(folder).verdict.startswith("WRONG")


def test_a_run_that_is_stopped_elsewhere_stays_that_of_its_machine(tmp_path, monkeypatch):
    folder = moved_run(tmp_path / "run", 4e-7)
    before = memory_audit.read(memory_audit.record_path(folder / "audit", 2)).digest()
    monkeypatch.setattr(tiny_run.MovedDGM, "learn_task", stopped)
    with pytest.raises(KeyboardInterrupt):
        tiny_run.run(folder, tiny_run.MovedDGM(variant="w"))
    assert memory_audit.read(memory_audit.record_path(folder / "audit", 2)).digest() == before


def stopped(*_, **__):
    raise KeyboardInterrupt
