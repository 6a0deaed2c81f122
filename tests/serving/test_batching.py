"""Whatever a server merges, splits or fills up, a row's answer has the same bits."""

import numpy as np
import pytest

from tests.serving.asking import GOOD, SIGNATURES, Function, Session, as_bytes, rows_of
from tests.serving.tiny_export import exported

ALLOWED_SIZES = (4, 16, 64)


@pytest.fixture(scope="module", params=[Function, Session])
def model(request):
    return request.param(str(exported(classifier=True).path))


def merged(model, signature, clients):
    """The clients' answers, computed together as TensorFlow Serving's `BatchingSession` does.

    It fills a batch up to an allowed size with copies of the first row of the last client.
    """
    sizes = [len(next(iter(inputs.values()))) for inputs in clients]
    filling = min(size for size in ALLOWED_SIZES if size >= sum(sizes)) - sum(sizes)
    batch = {
        name: np.concatenate(
            [inputs[name] for inputs in clients] + [clients[-1][name][:1]] * filling
        )
        for name in clients[0]
    }
    found = model(signature, batch)
    ends = np.cumsum(sizes)
    return [
        {name: value[end - size : end] for name, value in found.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_merged_requests_are_answered_as_each_alone(model, signature):
    rows = rows_of(signature, 23, seed=0)
    alone = [
        model(signature, {name: value[row : row + 1] for name, value in rows.items()})
        for row in range(23)
    ]
    assert 0 < sum(bool(answer["valid"][0]) for answer in alone)
    for cuts, order in (
        ([0, 23], range(1)),
        ([0, 1, 2, 9, 23], (2, 0, 3, 1)),
        ([0, 7, 8, 23], (1, 2, 0)),
    ):
        parts = [range(cuts[part], cuts[part + 1]) for part in order]
        clients = [{name: value[list(part)] for name, value in rows.items()} for part in parts]
        for part, answer in zip(parts, merged(model, signature, clients), strict=True):
            expected = {name: np.concatenate([alone[row][name] for row in part]) for name in answer}
            assert as_bytes(answer) == as_bytes(expected)


def test_a_client_that_errs_gets_its_own_error_only(model):
    good, bad = GOOD["generate"], {**GOOD["generate"], "labels": np.int32([77, 3])}
    first, second, third = merged(model, "generate", [good, bad, good])
    assert first["valid"].all() and third["valid"].all()
    np.testing.assert_array_equal(second["valid"], [False, True])
    np.testing.assert_array_equal(first["images"], model("generate", good)["images"])
