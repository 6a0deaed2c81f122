"""README.md and the documents are easy to read."""

import statistics
from pathlib import Path

import pytest

from tests import notebooks
from tests.prose import complaints, sentences, words

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.ipynb")),
]


def test_sentences_are_found_and_code_is_not():
    page = (
        "# A heading of words\n\nOne sentence, e.g. this. Two `code. Words` here!\n\n"
        "- An item that\n  goes over lines.\n\n| a | table |\n\n```python\nx = 1. + 2\n```\n"
        "\n    make demo. Now\n\nSee [the page](a.md). Last one"
    )
    assert list(sentences(page)) == [
        "One sentence, e.g this.", "Two code here!", "An item that goes over lines.",
        "See the page.", "Last one",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sentence",
    ["It is made anew.", "What it needs is said there.", " ".join(["word"] * 36) + "."],
)
def test_hard_sentences_are_found(sentence):
    assert list(complaints(sentence))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_is_easy_to_read(page):
    text = notebooks.prose(page) if page.suffix == ".ipynb" else page.read_text(encoding="utf-8")
    assert list(complaints(text)) == []
    lengths = [len(words(sentence)) for sentence in sentences(text)]
    assert not lengths or statistics.mean(lengths) <= 18
