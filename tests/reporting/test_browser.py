"""The pages as a browser shows them, where Chromium is installed."""

import html
import json
import re
import shutil
import subprocess

import pytest

from dgm_tf.reporting import comparison, page
from dgm_tf.reporting.run import read_run
from tests.reporting.example import description, row, write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

# A frame of the wanted width, since a window may not be that narrow; what it finds goes to an
# element of the outer page, which the browser then prints.
PROBE = """<!DOCTYPE html><title>probe</title><pre id="found"></pre>
<iframe style="border: 0; width: {width}px; height: 2000px" srcdoc="{page}"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const shown = frame.contentDocument, root = shown.documentElement;
  const box = element => element.getBoundingClientRect();
  document.getElementById("found").textContent = JSON.stringify({{
    width: root.clientWidth, needed: root.scrollWidth,
    images: shown.images.length,
    loaded: [...shown.images].filter(i => i.complete && i.naturalWidth).length,
    figures: [...shown.querySelectorAll("figure svg")].map(f => box(f).height),
    drawn: [...shown.querySelectorAll("figure svg")].map(
      f => [...f.querySelectorAll("path, use")].some(p => box(p).width > 0)),
    fetched: frame.contentWindow.performance.getEntriesByType("resource")
      .map(entry => entry.name).filter(name => !name.startsWith("data:")),
  }});
}};
</script>"""


def probe(text, width, tmp_path):
    """What the browser makes of a page, and what it says on its console."""
    file = tmp_path / "probe.html"
    file.write_text(PROBE.format(page=html.escape(text), width=width))
    done = subprocess.run(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=10000", "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found)), console


@pytest.fixture(scope="module", params=["one", "fifty", "several"])
def shown(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "several":
        folders = [
            write_run(folder / str(seed), [row(1), row(2)], description(seed=seed), samples=[2])
            for seed in (0, 1)
        ]
        return comparison.comparison_page([read_run(path) for path in folders])
    tasks = {"one": 1, "fifty": 50}[request.param]
    rows = [row(task) for task in range(1, tasks + 1)]
    for found in rows:
        found["class_accuracy"] = dict.fromkeys(found["class_accuracy"], 0.75)
    described = description(tasks=tasks)
    return page.run_page(read_run(write_run(folder, rows, described, samples=[tasks])))


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_shows_every_picture_and_says_nothing_on_the_console(shown, width, tmp_path):
    found, console = probe(shown, width, tmp_path)
    assert found["width"] == found["needed"] == width
    assert found["loaded"] == found["images"] >= 1
    assert found["figures"] and min(found["figures"]) > 50 and all(found["drawn"])
    assert found["fetched"] == [] and console == []


def test_an_error_on_the_console_would_be_seen(tmp_path):
    _, console = probe("<script>console.error('seen')</script>", 360, tmp_path)
    assert len(console) == 1 and "seen" in console[0]
