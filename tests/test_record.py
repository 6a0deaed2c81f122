"""Rows made from runs' folders are those that were committed with them."""

import json
import shutil
from pathlib import Path

import pytest

from dgm_tf.reporting.run import read_run
from studies import record, results

ROWS = results.read()
FOLDERS = sorted(results.ROOT.glob("results/**/metrics.jsonl"))


def test_there_are_folders():
    assert len(FOLDERS) > 10


@pytest.mark.parametrize(
    "folder",
    [path.parent for path in FOLDERS],
    ids=[path.parent.relative_to(results.ROOT).as_posix() for path in FOLDERS],
)
def test_a_committed_run_gives_its_row(folder):
    mine = record.row_of(folder, group="defaults", commit="abc")
    same = ("dataset", "tasks", "method", "variant", "seed", "command", "machine", "date")
    found = [row for row in ROWS if all(row[name] == mine[name] for name in same)]
    found = [row for row in found if row["minutes"] == pytest.approx(mine["minutes"], abs=1e-3)]
    assert found
    assert len(read_run(folder).rows) == mine["tasks_learnt"]
    for name in set(results.MEASURES) - {"kept"}:  # what was saved is in no slim folder
        wanted = found[0][name]
        assert mine[name] == (wanted if wanted is None else pytest.approx(wanted, abs=1e-3)), name
    assert mine["A"] == found[0]["A"]


def test_bytes_kept_are_the_last_arrays_and_all_finished_ones(tmp_path):
    folder = results.ROOT / "results" / "digits-10"
    for method in ("dgm-w", "joint"):
        run = tmp_path / method
        shutil.copytree(folder / method / "seed0", run)
        for task in range(1, 11):
            place = run / "checkpoints" / f"task-{task:02}"
            place.mkdir(parents=True)
            (place / "arrays.safetensors").write_bytes(bytes(1000 + task))
            (place / "finished.safetensors").write_bytes(bytes(task))
    rows = [
        record.row_of(tmp_path / method, group="defaults", commit="abc")
        for method in ("dgm-w", "joint")
    ]
    assert [row["kept"] for row in rows] == [1010 + 55, None]


def test_a_kept_folder_is_slim_and_gives_the_same_row(tmp_path):
    folder = results.ROOT / "results" / "digits-10" / "dgm-w" / "seed0"
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)
    (run / "settings.json").write_bytes((folder / "settings.json").read_bytes())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    lines = [json.dumps(json.loads(line) | {"history": {"a": [1.0] * 50}}) for line in lines]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    for task in (9, 10):
        (run / "samples" / f"task-{task:02}.png").write_bytes(b"a sheet")
    place = record.keep(run, tmp_path / "results")
    assert place == tmp_path / "results" / "digits-10" / "dgm-w" / "seed0"
    assert [path.name for path in Path(place, "samples").iterdir()] == ["task-10.png"]
    assert "history" not in (place / "metrics.jsonl").read_text()
    names = {"group": "defaults", "commit": "abc"}
    assert record.row_of(place, **names) == record.row_of(folder, **names)
