"""The tables of docs/how-to/networks.md and methods.md are those of the code."""

import re
from pathlib import Path

import pytest

from dgm_tf import sizes
from dgm_tf.methods.registry import METHODS

PAGES = Path(__file__).parents[1] / "docs" / "how-to"
NETWORKS = (PAGES / "networks.md").read_text(encoding="utf-8")
METHODS_PAGE = (PAGES / "methods.md").read_text(encoding="utf-8")
SIZES = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", NETWORKS, re.M)


@pytest.mark.parametrize("row", SIZES)
def test_the_table_of_sizes_is_right(row):
    side, blocks, first, convolutions = map(int, row)
    assert (sizes.doublings(side), side >> blocks, sizes.halvings(side)) == (
        blocks, first, convolutions
    )  # fmt: skip


def test_the_tables_are_found_and_have_all_default_sizes():
    assert {int(side) for side, *_ in SIZES} >= set(sizes._DEFAULTS)


def test_the_table_of_methods_has_all_and_says_what_is_private():
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (yes|no) \|$", METHODS_PAGE, re.M))
    assert rows == {name: "yes" if method.private else "no" for name, method in METHODS.items()}
