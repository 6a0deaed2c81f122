"""The tutorials: their files hold a whole run, and every cell runs with a small budget."""

import json
import os
import re

import pytest

from tests import notebooks

# Numbers that a notebook exists for, as it prints them.
PERCENT = r"\d+\.\d %"
KEY = {
    "forgetting": [
        rf"all ten digits after the last task: {PERCENT}",
        r"DGM the same bits: True",
        rf"joint training .*: {PERCENT}",
        rf"^DGM: {PERCENT}",
        rf"classifier, task after task: {PERCENT}",
    ],
    "own-images": [
        rf"accuracy so far {PERCENT}",
        r"answer: (zero|three|seven)",
        rf"10 images of each class: {PERCENT}; all images: {PERCENT}",
    ],
    "one-more-class": [
        r"audit: \{1: True, 2: True, 3: True\}",
        rf"class    0: before +{PERCENT}, after {PERCENT}",
        rf"class plus: before +-, after {PERCENT}",
    ],
    "serve": [
        r"signatures: .*classify.* generate",
        r"generated: \(20, 16, 16, 1\) valid: True",
        r"class 9 has not been learnt; valid: False",
        r"the model's own images: True",
    ],
    "own-method": [
        rf"nearest mean +{PERCENT}",
        rf"streaming LDA +{PERCENT}",
        rf"DGM +{PERCENT}",
        "the same probabilities: True",
    ],
}


def test_every_notebook_is_known():
    found = {path.stem for path in notebooks.FOLDER.glob("*.ipynb")}
    assert found == set(notebooks.NAMES) == set(KEY)


@pytest.fixture(params=notebooks.NAMES)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return notebooks.read(name)


def missing(notebook, name):
    text = notebooks.printed(notebook)
    return [pattern for pattern in KEY[name] if not re.search(pattern, text, re.M)]


def test_the_file_holds_one_run_from_the_first_cell_to_the_last(notebook, name):
    counts = [cell["execution_count"] for cell in notebooks.cells(notebook, "code")]
    assert counts == list(range(1, len(counts) + 1))
    kinds = [output["output_type"] for output in notebooks.outputs(notebook)]
    assert "error" not in kinds
    assert any("image/png" in output.get("data", ()) for output in notebooks.outputs(notebook))
    assert missing(notebook, name) == []


def test_the_file_is_small_and_says_nothing_of_the_machine_that_ran_it(notebook, name):
    assert notebooks.path_of(name).stat().st_size < 400 * 1024
    assert notebook["metadata"] == {
        "kernelspec": notebooks.KERNEL,
        "language_info": {"name": "python"},
    }
    shown = [
        {kind: text for kind, text in output.get("data", output).items() if kind != "image/png"}
        for output in notebooks.outputs(notebook)
    ]
    assert not re.search(r"/(home|root|tmp|work|Users)/|Warning|\b20\d\d-\d\d", json.dumps(shown))
    assert all(output.get("name") != "stderr" for output in notebooks.outputs(notebook))
    written = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    assert notebooks.path_of(name).read_text(encoding="utf-8") == written


def test_it_says_how_long_it_takes_and_has_one_budget(notebook):
    first = notebooks.source(notebooks.cells(notebook, "markdown")[0])
    (minutes,) = re.findall(r"cells\s+take\s+about\s+(\d+)\s+minutes?\s+on\s+two\s+cores", first)
    assert int(minutes) <= 10
    assert len(notebooks.parameters(notebook)) == 1


def test_its_links_lead_somewhere(name):
    text = notebooks.prose(notebooks.path_of(name))
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    assert targets
    for target in targets:
        assert re.match(r"https?:", target) or (notebooks.FOLDER / target).exists(), target


def test_outputs_that_a_machine_or_a_live_line_leaves_are_taken_out():
    kept = {"output_type": "stream", "name": "stdout", "text": ["a number\n"]}
    noise = [
        {"output_type": "stream", "name": "stderr", "text": ["a warning"]},
        {"output_type": "display_data", "data": {"text/plain": ""}, "metadata": {}},
        {"output_type": "display_data", "data": {"text/plain": []}, "metadata": {}},
    ]
    cell = {
        "cell_type": "code", "id": "x", "source": ["1"], "execution_count": 1,
        "metadata": {"execution": {"start": 1}, "tags": ["parameters"]}, "outputs": [kept, *noise],
    }  # fmt: skip
    cleaned = notebooks.cleaned({"cells": [cell], "metadata": {"language_info": {"version": "3"}}})
    assert cleaned["cells"][0]["outputs"] == [kept]
    assert cleaned["cells"][0]["metadata"] == {"tags": ["parameters"]}
    assert "version" not in json.dumps(cleaned)


@pytest.mark.slow
def test_every_cell_runs_with_a_small_budget(name):
    pytest.importorskip("nbclient", reason="requirements-docs.txt has it")
    assert missing(notebooks.executed(name, budget="small"), name) == []


@pytest.mark.slow
def test_a_notebook_shows_the_live_line_and_clears_it(tmp_path):
    """In a true kernel: the text of one output, redrawn and empty at the end."""
    manager = pytest.importorskip("jupyter_client.manager", reason="requirements-docs.txt has it")
    code = """
import dgm_tf, numpy as np
images = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 1), np.uint8)
model = dgm_tf.DGM(epochs=40, consolidation_steps=2, generator_size=2, critic_size=2, batch_size=8)
with dgm_tf.TaskProgress("mine") as progress:
    model.learn((images, [0] * 64), callbacks=[progress], verbose=0)
"""
    paths = [str(notebooks.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    kernel, client = manager.start_new_kernel(
        kernel_name=notebooks.KERNEL["name"], cwd=str(tmp_path), env=environment
    )
    states = []

    def keep(message):
        if message["msg_type"] in ("display_data", "update_display_data"):
            states.append(message["content"]["data"]["text/plain"])

    try:
        reply = client.execute_interactive(code, timeout=300, output_hook=keep)
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok"
    first, *others, last = states
    assert "mine" in first and last == ""
    assert any("critic" in state and "epoch" in state for state in others)
    assert not any("\n" in state for state in states)
