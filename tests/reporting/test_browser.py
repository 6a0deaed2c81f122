"""The pages as a browser shows them, where Chromium is installed."""

import html
import json
import re
import shutil
import subprocess

import pytest

from dgm_tf.reporting import page
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
    paper: frame.contentWindow.getComputedStyle(shown.body).backgroundColor,
    inks: [...new Set([...shown.querySelectorAll("figure svg text")].map(
      t => frame.contentWindow.getComputedStyle(t).fill))],
    fetched: frame.contentWindow.performance.getEntriesByType("resource")
      .map(entry => entry.name).filter(name => !name.startsWith("data:")),
  }});
}};
</script>"""


def chromium(tmp_path, *options):
    """Has the browser do one thing and end."""
    return subprocess.run(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=10000", *options,
        ],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def probe(text, width, tmp_path, *options):
    """The page as a browser shows it, and the lines on its console."""
    file = tmp_path / "probe.html"
    file.write_text(PROBE.format(page=html.escape(text), width=width))
    done = chromium(tmp_path, "--enable-logging=stderr", "--dump-dom", *options, file.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found)), console


def several(folder):
    """The page of two seeds of a method and one of another, on which much stands in a row."""
    rows = [row(task, oracle_accuracy=0.8765, forgetting=0.1234) for task in range(1, 11)]
    folders = [
        write_run(folder / "w0", rows, description(tasks=10), samples=[10]),
        write_run(folder / "w1", rows, description(tasks=10, seed=1)),
        write_run(
            folder / "a", rows, description(tasks=10, learner="dgm-a", a_setting_of_its_own=0.125)
        ),
    ]
    return page.page_of([read_run(path) for path in folders])


@pytest.fixture(scope="module", params=["unfinished", "one", "fifty", "several"])
def shown(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "several":
        return several(folder)
    learnt, tasks = {"unfinished": (2, 3), "one": (1, 1), "fifty": (50, 50)}[request.param]
    rows = [row(task) for task in range(1, learnt + 1)]
    for found in rows:
        found["class_accuracy"] = dict.fromkeys(found["class_accuracy"], 0.75)
    described = description(tasks=tasks)
    text = page.page_of([read_run(write_run(folder, rows, described, samples=[learnt]))])
    assert ("2 of 3 tasks learnt" in text) == (request.param == "unfinished")
    return text


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_shows_every_picture_and_says_nothing_on_the_console(shown, width, tmp_path):
    found, console = probe(shown, width, tmp_path)
    assert found["width"] == found["needed"] == width
    assert found["loaded"] == found["images"] >= 1
    assert found["figures"] and min(found["figures"]) > 50 and all(found["drawn"])
    assert found["fetched"] == [] and console == []


@pytest.mark.parametrize(
    ("scheme", "paper", "ink"),
    [
        ("0", "rgb(20, 23, 27)", "rgb(232, 234, 237)"),
        ("1", "rgb(255, 255, 255)", "rgb(27, 31, 36)"),
    ],
    ids=["dark", "light"],
)
def test_page_and_figures_are_dark_where_the_reader_wants_it(tmp_path, scheme, paper, ink):
    text = several(tmp_path / "runs")
    setting = f"--blink-settings=preferredColorScheme={scheme}"
    found, console = probe(text, 1280, tmp_path, setting)
    assert found["paper"] == paper and console == []
    # Black and white stand in the cells of the tables of colours, which look alike in both.
    assert set(found["inks"]) == {ink, "rgb(0, 0, 0)", "rgb(255, 255, 255)"}


def test_in_print_nothing_runs_off_the_paper(shown, tmp_path):
    """Letter in landscape, minus its margins, is 965 pixels wide; A4 is wider."""
    assert shown.count("@media print") == 1
    found, _ = probe(shown.replace("@media print", "@media all"), 965, tmp_path)
    assert found["width"] == found["needed"] == 965


def test_the_page_is_printed_in_landscape(shown, tmp_path):
    source, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    source.write_text(shown)
    chromium(tmp_path, f"--print-to-pdf={paper}", "--no-pdf-header-footer", source.as_uri())
    printed = paper.read_bytes()
    assert printed.startswith(b"%PDF")
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    assert boxes and all(float(width) > float(height) for width, height in boxes)


def test_an_error_on_the_console_would_be_seen(tmp_path):
    _, console = probe("<script>console.error('seen')</script>", 360, tmp_path)
    assert len(console) == 1 and "seen" in console[0]
