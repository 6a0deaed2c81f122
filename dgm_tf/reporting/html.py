"""Pieces of a page that needs nothing but itself: no network, no script, no file beside it.

Pieces are strings of HTML; whatever comes from a run goes through `text`.
"""

import html
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure

from dgm_tf import pictures
from dgm_tf.reporting import figures

_LIGHT = """
  --paper: #ffffff; --panel: #f5f6f8; --ink: #1b1f24; --muted: #5f6873; --rule: #d5dae0;
  --series-1: #0072b2; --series-2: #d55e00; --series-3: #009e73;
  --series-4: #cc79a7; --series-5: #e69f00; --series-6: #56b4e9;
"""
# The same hues, lighter where they would sink into a dark ground.
_DARK = """
  --paper: #14171b; --panel: #1d2127; --ink: #e8eaed; --muted: #a3acb7; --rule: #3a414a;
  --series-1: #4aa5e0; --series-2: #f08a45; --series-3: #2fc79a;
  --series-4: #dd9bc0; --series-5: #e69f00; --series-6: #8ccdf2;
"""
_STYLE = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 1rem; max-width: 64rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }}
h2 {{ font-size: 1.2rem; margin: 2.2rem 0 .4rem; padding-top: .6rem;
  border-top: 1px solid var(--rule); }}
p {{ margin: .4rem 0; max-width: 46rem; }}
.quiet {{ color: var(--muted); font-size: .9rem; }}
.tiles {{ display: grid; gap: .6rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }}
.tile {{ background: var(--panel); border-radius: .4rem; padding: .5rem .7rem; }}
.tile b {{ display: block; font-size: 1.3rem; line-height: 1.3; }}
.tile span {{ color: var(--muted); font-size: .85rem; }}
.figures {{ display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }}
.figures.wide {{ grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }}
figure {{ margin: .6rem 0; break-inside: avoid; }}
figure svg {{ display: block; width: 100%; height: auto; }}
figure.dense {{ overflow-x: auto; }}
figure.dense svg {{ min-width: 26rem; }}
figcaption {{ color: var(--muted); font-size: .85rem; max-width: 42rem; }}
pre {{ background: var(--panel); border-radius: .4rem; padding: .6rem .8rem; margin: .6rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--rule);
  vertical-align: top; }}
th {{ font-weight: 600; }}
th:first-child, td:first-child, .plain td, .plain th {{ text-align: left; }}
table:not(.plain) td {{ white-space: nowrap; }}
.plain td:last-child {{ overflow-wrap: anywhere; }}
.settings {{ columns: 16rem; font-size: .85rem; padding: 0; margin: .6rem 0; list-style: none; }}
.settings li {{ break-inside: avoid; display: flex; justify-content: space-between; gap: 1rem; }}
.settings b {{ font-weight: 400; color: var(--muted); overflow-wrap: anywhere; }}
.samples {{ display: grid; gap: .8rem 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }}
.class {{ break-inside: avoid; }}
.class h3 {{ font-size: .9rem; margin: 0; }}
.class p {{ margin: 0; }}
.strips {{ display: grid; gap: .1rem .5rem; grid-template-columns: 4.2rem 1fr;
  align-items: center; }}
.strips span {{ color: var(--muted); font-size: .8rem; }}
.strips img {{ display: block; width: 100%; height: auto; image-rendering: pixelated; }}
.bad {{ color: var(--series-2); font-weight: 600; }}
@page {{ size: landscape; margin: 12mm; }}
@media print {{
  :root {{ color-scheme: light; {_LIGHT} }}
  body {{ max-width: none; padding: 0; font-size: 11pt; }}
  h2 {{ break-after: avoid; }}
  .figures {{ grid-template-columns: 1fr 1fr 1fr; }}
  .figures.wide, .samples {{ grid-template-columns: 1fr 1fr; }}
  .scroll, figure.dense {{ overflow: visible; }}
  figure.dense svg {{ min-width: 0; }}
  table {{ font-size: 8pt; }}
  table:not(.plain) td {{ white-space: normal; }}
  tr {{ break-inside: avoid; }}
  * {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
}}
"""


def text(value: object) -> str:
    """Anything as text that means nothing to a browser."""
    return html.escape(str(value))


def document(title: str, body: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: plain text.
        body: pieces in order.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Without it a browser asks the server for one.
        '<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{text(title)}</h1>\n" + "\n".join(filter(None, body)) + "\n</body>\n</html>\n"
    )


def section(title: str, *pieces: str) -> str:
    """A heading and what stands under it; nothing where there is nothing."""
    pieces = tuple(filter(None, pieces))
    return "\n".join([f"<h2>{text(title)}</h2>", *pieces]) if pieces else ""


def paragraph(words: str, *, quiet: bool = False) -> str:
    return f'<p class="quiet">{text(words)}</p>' if quiet else f"<p>{text(words)}</p>"


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """Large values, each with what it is underneath."""
    cells = (
        f'<div class="tile"><b>{text(value)}</b><span>{text(what)}</span></div>'
        for value, what in values
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """A table that scrolls by itself where it is too wide; numbers to the right."""
    cells = "".join(f"<th>{text(cell)}</th>" for cell in header)
    head = f"<thead><tr>{cells}</tr></thead>" if cells else ""
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    kind = "" if numbers else ' class="plain"'
    return f'<div class="scroll"><table{kind}>{head}<tbody>{body}</tbody></table></div>'


def settings(values: Iterable[tuple[str, object]]) -> str:
    """Names and values in columns."""
    items = (f"<li><b>{text(name)}</b> <span>{text(value)}</span></li>" for name, value in values)
    return f'<ul class="settings">{"".join(items)}</ul>'


def command(line: str) -> str:
    return f"<pre>{text(line)}</pre>"


def figure(drawn: Figure, name: str, caption: str, *, dense: bool = False) -> str:
    """A figure with its caption, which also describes it to those who cannot see it.

    Args:
        drawn: the figure.
        name: unique on the page.
        caption: plain text.
        dense: give it a least width, to be scrolled to on a phone.
    """
    kind = ' class="dense"' if dense else ""
    caption = caption.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    svg = figures.inline_svg(drawn, name, text(caption))
    return f"<figure{kind}>{svg}<figcaption>{text(caption)}</figcaption></figure>"


def side_by_side(*pieces: str, wide: bool = False) -> str:
    """Figures next to each other where there is room."""
    pieces = tuple(filter(None, pieces))
    if not pieces:
        return ""
    return f'<div class="figures{" wide" if wide else ""}">{"".join(pieces)}</div>'


def samples(
    title: str, strips: Iterable[tuple[str, np.ndarray]], note: str = "", *, bad: bool = False
) -> str:
    """Strips of images under a title.

    Args:
        title: what they show.
        strips: what each strip is called, and its images uint8 [N, H, W, 3].
        note: a line underneath.
        bad: make the note stand out.
    """
    rows = []
    for name, images in strips:
        pixels = np.concatenate(list(images), axis=1)  # [H, N * W, 3]
        height, width = pixels.shape[:2]
        rows.append(
            f'<span>{text(name)}</span><img src="{figures.data_uri(pictures.png(pixels))}" '
            f'width="{width}" height="{height}" alt="{text(f"{title}, {name}")}">'
        )
    kind = "bad" if bad else "quiet"
    note = f'<p class="{kind}">{text(note)}</p>' if note else ""
    return (
        f'<div class="class"><h3>{text(title)}</h3>'
        f'<div class="strips">{"".join(rows)}</div>{note}</div>'
    )


def gallery(pieces: Iterable[str]) -> str:
    """Pieces made by `samples`, in columns."""
    pieces = list(pieces)
    return f'<div class="samples">{"".join(pieces)}</div>' if pieces else ""
