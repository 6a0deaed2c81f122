"""The page of trainers.show: refusals, and the page itself in Chromium where all is installed."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgm_tf.experiments import show_page
from tests.tiny_run import MovedDGM, run
from trainers import show

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
MISSING = [
    *(name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None),
    *(["Chromium"] if CHROMIUM is None else []),
]
in_browser = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

# Says on standard error which other machines the process asks for anything.
WATCHED = """
import ipaddress, sys
def heard(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and not ipaddress.ip_address(address[0]).is_loopback:
            sys.stderr.write(f"ASKED {address}\\n")
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "localhost", "127.0.0.1"):
        sys.stderr.write(f"ASKED {arguments[0]}\\n")
sys.addaudithook(heard)
from trainers import show
sys.exit(show.main(sys.argv[1:]))
"""


@pytest.fixture
def installed(monkeypatch):
    """Something that is called gradio, so that what comes before it can be tested without."""
    monkeypatch.setitem(sys.modules, "gradio", types.ModuleType("gradio"))


def test_without_gradio_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert show.main(["--memory=digits-demo"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the page needs the package gradio") and said.count("\n") == 1
    assert "pip install gradio" in said


def test_the_library_does_not_import_gradio():
    program = (
        "import sys, dgm_tf; from dgm_tf.experiments import show, show_page; "
        "sys.exit('gradio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=300).returncode == 0


def test_the_requirement_is_an_extra_of_the_package():
    assert "gradio" in (ROOT / "requirements-show.txt").read_text()
    extra = 'optional-dependencies.show = { file = ["requirements-show.txt"] }'
    assert extra in (ROOT / "pyproject.toml").read_text()


def test_a_port_that_is_taken_or_none_is_refused_in_one_line(installed, capsys):
    with socket.create_server((show_page.LOOPBACK, 0)) as other:
        taken = other.getsockname()[1]
        assert show.main(["--memory=digits-demo", f"--port={taken}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: cannot listen on 127.0.0.1, port {taken}: ")
    assert said.count("\n") == 1
    assert show.main(["--memory=digits-demo", "--port=65536"]) == 2
    assert "--port" in capsys.readouterr().err


def test_a_folder_without_a_memory_is_refused(installed, tmp_path, capsys):
    assert show.main([f"--memory={tmp_path}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_it_listens_to_this_machine_only_unless_told_otherwise():
    assert show.define().parse(["--memory=a"]).of(show.Options).host == "127.0.0.1"
    assert show_page.LOOPBACK == "127.0.0.1"


class Served:
    """The command as a process of its own, with a folder for temporary files to itself."""

    def __init__(self, memory, temporary):
        self.temporary = temporary
        self._process = subprocess.Popen(
            [sys.executable, "-c", WATCHED, f"--memory={memory}", "--port=0"],
            cwd=ROOT, env=os.environ | {"TMPDIR": str(temporary)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        line = self._process.stdout.readline()
        assert (found := re.search(r"http://127\.0\.0\.1:\d+", line)), self._process.stderr.read()
        self.address = found[0]

    def files(self):
        return [path for path in self.temporary.rglob("*") if path.is_file()]

    def stop(self):
        """Ends it as Ctrl-C does; returns its exit code and what it had to say."""
        self._process.send_signal(signal.SIGINT)
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out, err


@pytest.fixture(scope="module")
def browser():
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def served(request, tmp_path):
    with tempfile.TemporaryDirectory() as temporary:
        memory = "digits-demo"
        if getattr(request, "param", None) == "run":
            memory = run(tmp_path / "a <b>run", MovedDGM())
        process = Served(memory, Path(temporary))
        yield process
        if process._process.poll() is None:
            process._process.kill()
            process._process.communicate()


@pytest.fixture
def tab(served, browser):
    """The page, opened; `asked` has the addresses of all requests."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(120_000)
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(served.address)
    page.get_by_text("Drop an image").wait_for()
    yield page
    page.close()


def hosts(addresses):
    """Hosts that were asked; what the page holds itself is on none."""
    return {re.match(r"\w+://[^/]*", each)[0] for each in addresses if "://" in each[:10]} - {""}


def best(tab, name):
    """Waits until a class is the most probable one."""
    tab.get_by_test_id("label-output-value").filter(
        has_text=re.compile(f"^\\s*{name}\\s*$")
    ).wait_for()


@in_browser
@pytest.mark.slow
def test_an_image_and_a_drawing_are_classified_and_nothing_is_kept(served, tab, tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.images[13] * 255 / 16).astype(np.uint8)  # a three
    Image.fromarray(pixels).resize((200, 200)).save(tmp_path / "three.png")
    tab.set_input_files("input[type=file]", tmp_path / "three.png")
    best(tab, "3")
    tab.get_by_text("As the classifier sees it, 16 x 16 pixels").wait_for()
    assert served.files() == []

    Image.fromarray(255 - pixels).resize((200, 200)).save(tmp_path / "negative.png")
    tab.get_by_label("Clear", exact=True).click()
    tab.get_by_text("As the classifier sees it").wait_for(state="hidden")
    tab.set_input_files("input[type=file]", tmp_path / "negative.png")
    tab.get_by_text("As the classifier sees it").wait_for()
    tab.get_by_label("Swap light and dark").check()
    best(tab, "3")

    (tmp_path / "text.png").write_bytes(b"no image")
    tab.get_by_label("Clear", exact=True).click()
    tab.get_by_text("As the classifier sees it").wait_for(state="hidden")
    tab.set_input_files("input[type=file]", tmp_path / "text.png")
    tab.get_by_text("image 'dropped on the page' cannot be read").wait_for()

    box = tab.locator("#drawing canvas").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    seven = [(-80, -110), (80, -110), (-20, 120)]
    tab.mouse.move(*(m + d for m, d in zip(middle, seven[0], strict=True)))
    tab.mouse.down()
    for point in seven[1:]:
        tab.mouse.move(*(m + d for m, d in zip(middle, point, strict=True)), steps=15)
    tab.mouse.up()
    best(tab, "7")
    assert served.files() == []
    tab.get_by_role("button", name="Erase").click()
    tab.get_by_text("As the classifier sees it").wait_for(state="hidden")
    assert hosts(tab.asked) == {served.address} and tab.wrong == []
    code, out, err = served.stop()
    assert (code, out, err[-8:]) == (130, "", "stopped\n")
    assert "ASKED" not in err and "Traceback" not in err
    assert [*served.temporary.glob("dgm_tf-show-*")] == []


@in_browser
@pytest.mark.slow
@pytest.mark.parametrize("served", ["run"], indirect=True)
def test_images_of_a_class_are_shown_now_and_then_with_a_verdict_and_the_curves(served, tab):
    assert tab.get_by_role("heading", name="a <b>run").count() == 1
    tab.get_by_role("tab", name="Generate").click()
    tab.get_by_text("now, after task 3, and at the end of task 1").wait_for()
    images = tab.locator("img.pixels:visible")
    assert images.count() == 2
    now, then = (images.nth(index).get_attribute("src") for index in range(2))
    assert now == then
    tab.get_by_label("Class", exact=True).click()
    tab.get_by_role("option", name="b").click()
    tab.get_by_text("and at the end of task 2").wait_for()
    assert images.first.get_attribute("src") != now
    tab.get_by_label("Seed").fill("5")
    tab.get_by_text("Now, seed 5").wait_for()
    tab.get_by_role("tab", name="Curves").click()
    figures = tab.locator(".shown figure svg:visible")
    figures.first.wait_for()
    assert (
        figures.count() >= 4
        and min(figures.nth(index).bounding_box()["height"] for index in range(figures.count()))
        > 50
    )
    for heading in ("Accuracy", "Growth", "Masks"):
        assert tab.get_by_role("heading", name=heading).is_visible()
    assert hosts(tab.asked) == {served.address} and tab.wrong == []


@in_browser
@pytest.mark.slow
def test_requests_by_another_name_are_refused(served):
    import http.client

    for name, status in (("127.0.0.1", 200), ("elsewhere.example", 400)):
        connection = http.client.HTTPConnection(served.address.removeprefix("http://"), timeout=60)
        connection.request("GET", "/", headers={"Host": name})
        answer = connection.getresponse()
        assert answer.status == status
        if status == 200:
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            links = re.findall(r'(?:src|href)="(https?://[^"]*)"', answer.read().decode())
            assert links == []
        connection.close()
