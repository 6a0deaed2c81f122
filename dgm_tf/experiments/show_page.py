"""The page of trainers.show, by Gradio: it is served to this machine, and keeps no image.

Gradio is an optional package and is imported when it is used. Pictures go to the browser inside
answers, and drawings come inside questions, so that they are in no file. Gradio writes a file that
is dropped on the page into a folder of this process. It is deleted as soon as it has been read, and
the folder when the page ends.
"""

import base64
import contextlib
import html
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dgm_tf import _checks
from dgm_tf.errors import InputError
from dgm_tf.experiments.show import Memory
from dgm_tf.reporting import pictures
from dgm_tf.reporting.figures import INK, MUTED, RULE, SERIES
from dgm_tf.terminal import printing, stopping

LOOPBACK = "127.0.0.1"
PORT = 7860

_CANVAS = 320  # pixels
_BRUSH = 36
_GRID = 128  # cells of a drawing's side
_ROW = 8  # images
_SHOWN = 64  # pixels of an image's side at least
_WAIT = 0.2  # seconds
_PATIENCE = 60  # seconds for the server to start
_MAX_BYTES = 64 * 2**20  # of a file
_LEFT_SECONDS = 60  # a file that nothing was asked about

# No other host is asked for anything, whatever a release of Gradio has on its pages.
_POLICY = "; ".join(
    (
        "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'",
        "frame-ancestors 'self'",
        "form-action 'self'",
    )
)

_CSS = """
footer { display: none !important; }
#dropped a { display: none; }
#drawing canvas { background: #fff; border: 1px solid var(--border-color-primary);
  border-radius: 8px; touch-action: none; cursor: crosshair; max-width: 100%; }
#drawing button { padding: .3rem 1rem; border: 1px solid var(--border-color-primary);
  border-radius: 8px; }
.pixels { image-rendering: pixelated; border-radius: 4px; max-width: 100%; }
.shown figure { margin: 0 0 1.2rem; }
.shown figure svg { display: block; max-width: 100%; height: auto; }
.shown figcaption { color: var(--body-text-color-subdued); max-width: 42rem; }
.shown .figures { display: grid; gap: .5rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
"""


# A canvas: after each stroke the page is told how dark each cell of a grid is. Gradio's own editor
# would write each state of a drawing into files.
_DRAWING = f"""
<p>Or draw, with a finger or the mouse:</p>
<canvas width="{_CANVAS}" height="{_CANVAS}" aria-label="Drawing"></canvas>
<p><button type="button">Erase</button></p>
"""
_DRAW = f"""
const canvas = element.querySelector("canvas"), pen = canvas.getContext("2d");
const small = document.createElement("canvas");
small.width = small.height = {_GRID};
const grid = small.getContext("2d", {{willReadFrequently: true}});
pen.lineWidth = {_BRUSH};
pen.lineCap = pen.lineJoin = "round";
let drawing = false;
const point = event => {{
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width,
          (event.clientY - box.top) * canvas.height / box.height];
}};
const tell = () => {{
  grid.clearRect(0, 0, {_GRID}, {_GRID});
  grid.drawImage(canvas, 0, 0, {_GRID}, {_GRID});
  const pixels = grid.getImageData(0, 0, {_GRID}, {_GRID}).data;
  let ink = "";
  for (let place = 3; place < pixels.length; place += 4) ink += String.fromCharCode(pixels[place]);
  trigger("input", {{ink: btoa(ink)}});
}};
const stroke = event => {{ pen.lineTo(...point(event)); pen.stroke(); }};
canvas.addEventListener("pointerdown", event => {{
  canvas.setPointerCapture(event.pointerId);
  pen.beginPath();
  pen.moveTo(...point(event));
  stroke(event);
  drawing = true;
}});
canvas.addEventListener("pointermove", event => {{ if (drawing) stroke(event); }});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => {{
  if (drawing) tell();
  drawing = false;
}});
element.querySelector("button").addEventListener("click", () => {{
  pen.clearRect(0, 0, canvas.width, canvas.height);
  tell();
}});
"""


def check_installed() -> None:
    """Looks for Gradio before any work.

    Raises:
        InputError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the page needs the package gradio, which cannot be imported ({error}): "
            "pip install gradio"
        ) from error


def serve(path: str | Path, *, host: str = LOOPBACK, port: int = PORT) -> None:
    """Serves the page until the process is asked to stop.

    Args:
        path: the memory; see `dgm_tf.experiments.show.Memory`.
        host: the address to listen on.
        port: 0 for any that is free.

    Raises:
        dgm_tf.terminal.stopping.Stopped: on Ctrl-C or SIGTERM, once all is tidied up.
        InputError: Gradio is missing, there is no such memory, or the address cannot be had.
    """
    port = _checks.integer(port, "--port", low=0, high=65535)
    check_installed()
    memory = Memory(path)
    with _listening(host, port) as listener, stopping.watched(), _own_folder():
        with _served(application(memory, host), listener):
            shown, taken = f"[{host}]" if ":" in host else host, listener.getsockname()[1]
            printing.say(f"{memory.name}: http://{shown}:{taken} (Ctrl-C ends it)")
            while not stopping.requested():
                time.sleep(_WAIT)
        raise stopping.Stopped("stopped")


@contextlib.contextmanager
def _own_folder() -> Iterator[None]:
    """A block in which Gradio has a folder of this process for files, which goes with it."""
    with tempfile.TemporaryDirectory(prefix="dgm_tf-show-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # Gradio reads it as it makes a component.
        yield


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host}, port {port}: {_checks.reason(error)}; name another --port "
            "or --host"
        ) from error
    with listener:
        yield listener


@contextlib.contextmanager
def _served(application: Any, listener: socket.socket) -> Iterator[None]:
    """A block in which another thread answers requests; uvicorn leaves signals to the main one."""
    import uvicorn

    config = uvicorn.Config(
        application, log_level="critical", access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _PATIENCE
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise InputError("the page's server does not start; install another gradio")
            time.sleep(_WAIT / 4)
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=5)


def application(memory: Memory, host: str = LOOPBACK) -> Any:
    """The page as an ASGI application.

    Args:
        memory: what it shows.
        host: the address that it is served at. On this machine's own only requests to it are
            answered, so that no page of another site can reach it by a name of its own.
    """
    import fastapi
    import gradio
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    made = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if host in (LOOPBACK, "::1", "localhost"):
        allowed = [LOOPBACK, "localhost", "[::1]"]
        made.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed, www_redirect=False)

    @made.middleware("http")
    async def with_policy(request: Any, call_next: Any) -> Any:
        answer = await call_next(request)
        answer.headers["Content-Security-Policy"] = _POLICY
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    return gradio.mount_gradio_app(
        made,
        page_of(memory),
        path="/",
        server_name=host,
        footer_links=[],
        run_history=False,
        max_file_size=_MAX_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(),
        css=_CSS,
    )


def _theme() -> Any:
    """A theme with the fonts of the reader's machine: Gradio's others come from Google."""
    import gradio

    return gradio.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )


def page_of(memory: Memory) -> Any:
    """The page as Gradio's blocks."""
    import gradio

    with gradio.Blocks(
        title=memory.name, analytics_enabled=False, delete_cache=(_LEFT_SECONDS, _LEFT_SECONDS)
    ) as blocks:
        gradio.HTML(f"<h1>{html.escape(memory.name)}</h1><p>{html.escape(memory.about)}</p>")
        with gradio.Tab("Classify"):
            _classify(memory)
        with gradio.Tab("Generate"):
            _generate(memory, blocks)
        with gradio.Tab("Curves"):
            gradio.HTML(curves(memory), elem_classes="shown")
    return blocks


# The tabs.


def _classify(memory: Memory) -> None:
    import gradio

    with gradio.Row():
        with gradio.Column():
            dropped = gradio.File(
                label="Drop an image",
                file_types=["image"],
                type="binary",
                height=120,
                elem_id="dropped",
            )
            _forget_files(dropped)
            negative = gradio.Checkbox(label="Swap light and dark")
            drawn = None
            if memory.image_shape[2] == 1:
                drawn = gradio.HTML(html_template=_DRAWING, js_on_load=_DRAW, elem_id="drawing")
        with gradio.Column():
            count = min(len(memory.class_names), 10)
            found = gradio.Label(label="Probability by class", num_top_classes=count)
            seen = gradio.HTML()

    def read(content: bytes | None) -> tuple[Any, str]:
        try:
            return (None if content is None else memory.of_file(content)), ""
        except InputError as error:
            return None, str(error)

    def of_file(pixels: np.ndarray | None, swapped: bool, wrong: str) -> tuple[Any, str]:
        if pixels is None:
            return None, wrong and f"<p>{html.escape(wrong)}</p>"
        return _answer(memory, 255 - pixels if swapped else pixels)

    def of_drawing(event: gradio.EventData) -> tuple[Any, str]:
        return _answer(memory, memory.of_drawing(ink_of(event.ink)))

    answer = {"outputs": [found, seen], "show_progress": "hidden", "api_visibility": "private"}
    # A swap asks again: the session holds the few pixels that the networks see, not the file.
    pixels, wrong = gradio.State(), gradio.State("")
    asked = dropped.change(
        read, dropped, [pixels, wrong], show_progress="hidden", api_visibility="private"
    )
    asked.then(of_file, [pixels, negative, wrong], **answer)
    negative.change(of_file, [pixels, negative, wrong], **answer)
    if drawn is not None:
        drawn.input(of_drawing, trigger_mode="always_last", **answer)


def _answer(memory: Memory, image: np.ndarray | None) -> tuple[Any, str]:
    """Probabilities and the image that they are for, or the reason why there are none."""
    if image is None:
        return None, ""
    try:
        found = memory.probabilities(image)
    except InputError as error:
        return None, f"<p>{html.escape(str(error))}</p>"
    side = "{0} x {0} pixels".format(memory.image_shape[0])
    return found, f"<p>As the classifier sees it, {side}:</p>{strip(image[np.newaxis])}"


def _generate(memory: Memory, blocks: Any) -> None:
    import gradio

    with gradio.Row():
        name = gradio.Dropdown(list(memory.class_names), value=memory.class_names[0], label="Class")
        seed = gradio.Number(value=0, precision=0, minimum=0, label="Seed")
    shown = gradio.HTML()

    def generated(name: str, seed: Any) -> str:
        try:
            return comparison(memory, name, int(seed or 0))
        except InputError as error:
            return f"<p>{html.escape(str(error))}</p>"

    for listen in (name.change, seed.change, blocks.load):
        listen(
            generated, [name, seed], shown, show_progress="hidden", api_visibility="private",
            trigger_mode="always_last",
        )  # fmt: skip


def comparison(memory: Memory, name: str, seed: int) -> str:
    """Images of a class now and as they were, as HTML; see `Memory.compared`."""
    found = memory.compared(name, seed)
    parts = [f"<p><strong>{html.escape(found.verdict)}</strong></p>"]
    parts.append(_titled(f"Now, seed {seed}", found.now))
    if found.then is not None:
        if found.again is not found.now:
            parts.append(_titled("Those on record, generated now", found.again))
        parts.append(_titled("At the end of the class's task", found.then))
    return "".join(parts)


def _titled(title: str, images: np.ndarray) -> str:
    return f"<h3>{html.escape(title)}</h3>{strip(pictures.to_uint8(images))}"


def curves(memory: Memory) -> str:
    """The figures over tasks as HTML, or a line that there are none."""
    if not (found := memory.figures()):
        return (
            "<p>Accuracy, growth and masks by task are in the folder of a run. "
            "A saved learner and an exported model have no such table.</p>"
        )
    colors = {"ink": INK, "muted": MUTED, "rule": RULE}
    colors |= {f"series-{index}": color for index, color in enumerate(SERIES, start=1)}
    # Dark letters need a light ground, whatever the reader's scheme.
    style = ";".join(f"--{name}:{color}" for name, color in colors.items())
    parts = [f'<div style="{style};background:#fff;color:{INK};padding:1rem;border-radius:8px">']
    for heading, shown in found.items():
        figures = (
            f"<figure>{each.svg}<figcaption style='color:{MUTED}'>{html.escape(each.caption)}"
            "</figcaption></figure>"
            for each in shown
        )
        parts.append(
            f"<h3 style='color:{INK}'>{heading}</h3><div class='figures'>{''.join(figures)}</div>"
        )
    return "".join([*parts, "</div>"])


def strip(images: np.ndarray) -> str:
    """Images uint8 [N, S, S, C] in rows of eight, as an element of HTML."""
    count, side, _, channels = images.shape
    columns = min(count, _ROW)
    cells = np.full((-(-count // columns) * columns, side + 1, side + 1, 3), 255, np.uint8)
    cells[:count, :side, :side] = np.broadcast_to(images, (count, side, side, 3))
    rows = cells.reshape(-1, columns, side + 1, side + 1, 3).transpose(0, 2, 1, 3, 4)
    grid = rows.reshape(-1, columns * (side + 1), 3)[:-1, :-1]
    zoom = max(1, -(-_SHOWN // side)) * (2 if count == 1 else 1)
    text = base64.b64encode(pictures.png(grid)).decode()
    return (
        f'<img class="pixels" alt="{count} image{"s" * (count != 1)}" '
        f'width="{zoom * grid.shape[1]}" src="data:image/png;base64,{text}">'
    )


def ink_of(text: Any) -> np.ndarray:
    """The ink of a drawing, float [G, G] from 0 to 1.

    Args:
        text: its bytes, row by row, in base64.

    Raises:
        ValueError: it is no such drawing; the page itself sends none.
    """
    cells = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    return cells.reshape(_GRID, _GRID) / 255


def _forget_files(component: Any) -> None:
    """Has a component delete each uploaded file once it has read it."""
    read = component.preprocess

    def read_once(payload: Any) -> Any:
        try:
            return read(payload)
        finally:
            if payload is not None:
                file = Path(payload.path)
                file.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    file.parent.rmdir()

    component.preprocess = read_once
