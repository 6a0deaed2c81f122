"""Foreign files, whole, broken and mutated, end in a value or in one clear line; see `targets`."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import effort, targets
from tests.fuzz.mutation import changed

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))

# Files that are refused whole, with a part of the line that says why.
REFUSED = {
    "arrays/huge-header.safetensors": "file not fully covered",
    "description/endless-audit.json": "audit[0].images_per_label is not an integer from 1 to 256",
    "image/huge.png": "are more than 64,000,000",
    "image/truncated.png": "cannot be read",
    "metrics/twice.jsonl": "not numbered from 1 to 2",
    "settings/deep.json": "maximum recursion depth exceeded",
    "settings/none.json": "it is not an object",
}

BRIEF, LONG = effort.brief(60), effort.long(5000)


def read(name):
    return (CORPUS / name).read_bytes()


def test_every_target_has_inputs():
    assert {name.split("/")[0] for name in INPUTS} == set(targets.TARGETS)


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_of_the_corpus_ends_in_a_value_or_in_its_line(name):
    said = targets.feed(name.split("/")[0], read(name))
    if name in REFUSED:
        assert said is not None and REFUSED[name] in said
    elif "/crash-" not in name and len(Path(name).stem) < 40:  # not one that a fuzzer named
        assert said is None


# Bytes.


@st.composite
def mutated(draw):
    """A target, and an input of the corpus after a few edits of its bytes."""
    name = draw(st.sampled_from(INPUTS))
    content = bytearray(read(name))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        piece = draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"-1", b"1e999", b"\n", b"O"]),
            )
        )
        removed = draw(st.sampled_from([0, len(piece), len(piece), len(content)]))
        content[place : place + removed] = piece
    return name.split("/")[0], bytes(content)


@BRIEF
@given(mutated())
def test_mutated_bytes_end_in_a_value_or_in_one_line(case):
    targets.feed(*case)


@pytest.mark.slow
@LONG
@given(mutated())
def test_many_mutated_bytes_end_in_a_value_or_in_one_line(case):
    targets.feed(*case)


# Content: whole JSON that says something else.

JSON = {
    "settings": [json.loads(read("settings/run.json"))],
    "metrics": [json.loads(line) for line in read("metrics/rows.jsonl").splitlines()],
    "state": [json.loads(read("state/whole.json"))],
    "description": [json.loads(read("description/whole.json"))],
}


@st.composite
def documents(draw):
    """A target and JSON that is nearly what it expects."""
    target = draw(st.sampled_from(sorted(JSON)))
    content = draw(changed(JSON[target]))
    lines = map(json.dumps, content if isinstance(content, list) else [content])
    return target, "\n".join(lines).encode()


@BRIEF
@given(documents())
def test_other_json_ends_in_a_value_or_in_one_line(case):
    targets.feed(*case)


@pytest.mark.slow
@LONG
@given(documents())
def test_much_other_json_ends_in_a_value_or_in_one_line(case):
    targets.feed(*case)
