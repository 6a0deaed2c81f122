"""docs/how-to/networks.md: every block runs, and its table is that of the networks."""

import re
from pathlib import Path

import pytest

import dgm_tf
from dgm_tf import presets, sizes
from dgm_tf.registry import METHODS

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "networks.md"
TEXT = PAGE.read_text(encoding="utf-8")
TINY = {"epochs": 1, "consolidation_steps": 2, "generator_size": 2, "critic_size": 2}


def test_every_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(presets.TUNED["digits"], "dgm-w", TINY)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names = {}
    try:
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    finally:
        METHODS.pop("brightness", None)
    assert len(blocks) == 5 and type(names["model"]).__name__ == "Brightness"
    assert (tmp_path / "runs" / "brightness" / "report.html").exists()
    assert len(dgm_tf.load("with-backbone.dgm").classes_seen) == 2
    assert "10 tasks of 1 class" in capsys.readouterr().out


@pytest.mark.parametrize("row", re.findall(r"^\| (\d+) \| (\d) \| (\d) \| (\d) \|$", TEXT, re.M))
def test_the_table_of_sizes_is_right(row):
    side, blocks, first, convolutions = map(int, row)
    assert (sizes.doublings(side), side >> blocks, sizes.halvings(side)) == (
        blocks, first, convolutions
    )  # fmt: skip


def test_the_table_of_methods_says_what_is_private():
    for name, private in re.findall(r"^\| `(\w+)` \| [^|]* \| (yes|no) \|$", TEXT, re.M):
        assert METHODS[name].private == (private == "yes")
