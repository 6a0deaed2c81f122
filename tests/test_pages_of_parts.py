"""The tables of docs/how-to/networks.md and methods.md are those of the code."""

import re
from pathlib import Path

import pytest

from dgm_tf import sizes
from dgm_tf.registry import METHODS

PAGES = Path(__file__).parents[1] / "docs" / "how-to"
SIZES = re.findall(
    r"^\| (\d+) \| (\d) \| (\d) \| (\d) \|$", (PAGES / "networks.md").read_text("utf-8"), re.M
)
ROWS = re.findall(
    r"^\| `(\w+)` \| `(\w+)` \| .* \| (yes|no) \|$", (PAGES / "methods.md").read_text("utf-8"), re.M
)


def test_there_are_sizes():
    assert len(SIZES) > 10


@pytest.mark.parametrize("row", SIZES)
def test_the_table_of_sizes_is_right(row):
    side, blocks, first, convolutions = map(int, row)
    assert (sizes.doublings(side), side >> blocks, sizes.halvings(side)) == (
        blocks, first, convolutions
    )  # fmt: skip


def test_the_table_of_methods_has_each_with_its_learner_and_says_what_is_private():
    learners = {name: method.learner.partition(":")[2] for name, method in METHODS.items()}
    assert {name: learner for name, learner, _ in ROWS} == learners
    for name, _, private in ROWS:
        assert METHODS[name].private == (private == "yes"), name
