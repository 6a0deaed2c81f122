"""The tutorials' notebooks: runs them, and writes what they show into their files.

`python -m tests.notebooks` runs all with their full budget, `python -m tests.notebooks serve` one.
"""

import base64
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "tutorials"
NAMES = ("forgetting", "own-images", "one-more-class", "serve", "own-method")
TAG = "parameters"  # of the cell that sets the budget
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}

_BUDGET = 'BUDGET = "full"'
_CELL_SECONDS = 3600
_COLOURS = 24  # of a picture: sheets of grey digits stay small


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.ipynb"


def read(name: str) -> dict[str, Any]:
    return json.loads(path_of(name).read_text(encoding="utf-8"))


def cells(notebook: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def prose(path: Path) -> str:
    """The markdown cells of a notebook, as one page."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return "\n\n".join(map(source, cells(notebook, "markdown")))


def parameters(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        cell
        for cell in cells(notebook, "code")
        if TAG in cell["metadata"].get("tags", []) and _BUDGET in source(cell)
    ]


def outputs(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for cell in cells(notebook, "code"):
        yield from cell["outputs"]


def printed(notebook: dict[str, Any]) -> str:
    """What the cells wrote to standard output."""
    return "".join(
        "".join(output["text"]) for output in outputs(notebook) if output.get("name") == "stdout"
    )


def executed(name: str, *, budget: str) -> dict[str, Any]:
    """Runs a notebook in an empty folder, in a process of its own.

    Args:
        name: one of `NAMES`.
        budget: "full" or "small", which takes the place of what the notebook says.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(path_of(name), as_version=4)
    (cell,) = parameters(notebook)
    cell["source"] = source(cell).replace(_BUDGET, f'BUDGET = "{budget}"')
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook,
            timeout=_CELL_SECONDS,
            kernel_name=KERNEL["name"],
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        client.execute(env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    cell["source"] = source(cell).replace(f'BUDGET = "{budget}"', _BUDGET)
    return json.loads(nbformat.writes(notebook))


def cleaned(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with what every machine shows: no warnings, times, versions or empty outputs.

    Its pictures get a palette of 64 colours, which makes them a third as large.
    """
    for number, cell in enumerate(notebook["cells"], start=1):
        tags = cell["metadata"].get("tags")
        cell["metadata"] = {"tags": tags} if tags else {}
        cell["id"] = f"cell-{number:02d}"
        if cell["cell_type"] == "code":
            cell["outputs"] = [output for output in cell["outputs"] if not _is_noise(output)]
            for output in cell["outputs"]:
                if picture := output.get("data", {}).get("image/png"):
                    output["data"]["image/png"] = _with_palette(picture)
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return notebook


def _with_palette(png: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        if picture.mode == "P":
            return png
        small = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    written = io.BytesIO()
    small.save(written, format="PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def _is_noise(output: dict[str, Any]) -> bool:
    if output.get("name") == "stderr":
        return True
    # The live line of `learn`, which clears itself at the end.
    return set(output.get("data", ())) == {"text/plain"} and not "".join(
        output["data"]["text/plain"]
    )


def write(notebook: dict[str, Any], path: Path) -> None:
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    path.write_text(text, encoding="utf-8")


def main(names: list[str]) -> None:
    if unknown := set(names) - set(NAMES):
        sys.exit(f"no such notebook: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    for name in names or NAMES:
        notebook = executed(name, budget="full")
        for output in outputs(notebook):
            if output.get("name") == "stderr":
                print(re.sub(r"\n+", "\n", "".join(output["text"])), file=sys.stderr)
        write(cleaned(notebook), path_of(name))
        print(f"{path_of(name).relative_to(ROOT)}: {path_of(name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
