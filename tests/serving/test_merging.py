"""Requests that are computed together are answered as each alone, whoever goes or fails."""

import asyncio
import threading

import numpy as np
import pytest

from dgm_tf.serving.merging import Merging


class Doubling:
    """A computation of rows that remembers how many came at a time."""

    def __init__(self):
        self.sizes = []
        self.fails = False

    def __call__(self, inputs):
        assert threading.current_thread() is not threading.main_thread()
        if self.fails:
            raise ValueError("no memory")
        self.sizes.append(len(inputs["x"]))
        return {"twice": 2 * inputs["x"], "name": inputs["name"]}


def request(*numbers):
    return {"x": np.array(numbers, np.int64), "name": np.array([f"{n}" for n in numbers], object)}


def answers(compute, *requests, requests_at_once=3, seconds=5.0, after=None):
    async def run():
        merging = Merging(compute, requests=requests_at_once, seconds=seconds)
        calls = [asyncio.ensure_future(merging(each)) for each in requests]
        if after:
            await asyncio.sleep(0)
            after(calls)
        answered = asyncio.gather(*calls, return_exceptions=True)
        return await asyncio.wait_for(answered, timeout=30)

    return asyncio.run(run())


def check(answer, *numbers):
    assert answer["twice"].tolist() == [2 * number for number in numbers]
    assert answer["name"].tolist() == [str(number) for number in numbers]


def test_requests_that_fill_a_call_are_computed_together():
    compute = Doubling()
    first, second, none = answers(compute, request(1, 2), request(3), request())
    check(first, 1, 2)
    check(second, 3)
    check(none)
    assert compute.sizes == [3]


def test_a_request_waits_for_others_no_longer_than_it_must():
    compute = Doubling()
    (first,) = answers(compute, request(7), seconds=0.01)
    check(first, 7)
    assert compute.sizes == [1]


def test_a_call_takes_no_more_requests_than_it_may():
    compute = Doubling()
    found = answers(compute, *map(request, range(7)), seconds=0.05)
    for number, answer in enumerate(found):
        check(answer, number)
    assert sorted(compute.sizes) == [1, 3, 3]


@pytest.mark.parametrize("options", [{"requests_at_once": 0}, {"seconds": 0}])
def test_without_merging_each_is_computed_by_itself(options):
    compute = Doubling()
    for number, answer in enumerate(answers(compute, request(0), request(1), **options)):
        check(answer, number)
    assert compute.sizes == [1, 1]


def test_a_client_that_has_gone_leaves_its_neighbours_their_answers():
    compute = Doubling()
    found = answers(
        compute, request(1), request(2), seconds=0.05, after=lambda calls: calls[0].cancel()
    )
    assert isinstance(found[0], asyncio.CancelledError)
    check(found[1], 2)
    assert compute.sizes == [1]


def test_a_client_may_go_while_its_answer_is_computed():
    compute, found = Doubling(), {}

    def slow(inputs):
        found["loop"].call_soon_threadsafe(found["calls"][1].cancel)
        return compute(inputs)

    def after(calls):
        found.update(loop=asyncio.get_running_loop(), calls=calls)

    first, second, third = answers(slow, request(1), request(2), request(3), after=after)
    check(first, 1)
    check(third, 3)
    assert isinstance(second, (asyncio.CancelledError, dict))


def test_a_call_that_fails_is_made_again_for_each_request_alone():
    compute = Doubling()

    def weak(inputs):
        if len(inputs["x"]) > 2:
            raise MemoryError("too many rows")
        return compute(inputs)

    first, second, third = answers(weak, request(1), request(2, 3), request(4, 5, 6))
    check(first, 1)
    check(second, 2, 3)
    assert isinstance(third, MemoryError)
    assert compute.sizes == [1, 2]


def test_a_failure_is_no_end():
    compute = Doubling()

    async def run():
        merging = Merging(compute, requests=2, seconds=5.0)
        compute.fails = True
        failed = await asyncio.gather(
            merging(request(1)), merging(request(2)), return_exceptions=True
        )
        compute.fails = False
        return failed, await asyncio.gather(merging(request(1)), merging(request(2)))

    failed, (first, second) = asyncio.run(run())
    assert [str(error) for error in failed] == ["no memory"] * 2
    check(first, 1)
    check(second, 2)
