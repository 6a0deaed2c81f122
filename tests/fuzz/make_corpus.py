"""Writes the seeds of the corpus: small whole files of each kind, and a few broken ones.

python -m tests.fuzz.make_corpus
"""

import io
import json
import math
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from dgm_tf.evaluation import memory_audit
from dgm_tf.storage import checkpoint
from tests.fuzz import targets
from tests.reporting.example import description, row
from tests.serving.tiny_export import learner

CORPUS = Path(__file__).parent / "corpus"


def seeds() -> dict[str, dict[str, bytes]]:
    """Contents by target and name."""
    found = {
        "settings": {
            "run.json": json.dumps(description()).encode(),
            "deep.json": b"[" * 20_000,
            "none.json": b"[]",
        },
        "metrics": {
            "rows.jsonl": "".join(json.dumps(row(task)) + "\n" for task in (1, 2)).encode(),
            "twice.jsonl": 2 * (json.dumps(row(1)) + "\n").encode(),
        },
        "image": _images(),
    }
    with tempfile.TemporaryDirectory() as folder:
        saved = checkpoint.save(Path(folder) / "c", {"tasks": [[0]]}, targets._arrays())
        found["state"] = {"whole.json": (saved / "state.json").read_bytes()}
        found["arrays"] = {
            "whole.safetensors": (saved / "arrays.safetensors").read_bytes(),
            "huge-header.safetensors": header({"kernel": ("F32", [10**12])}),
        }
        black = lambda labels, seed: np.zeros((len(labels), 2, 2, 1), np.float32)  # noqa: E731
        memory_audit.remember(folder, 1, [0], black)
        record = memory_audit.record_path(folder, 1)
        found["record"] = {"whole.safetensors": record.read_bytes()}
        exported = learner().export(Path(folder) / "memory").path / "assets" / "model.json"
        found["description"] = _descriptions(exported.read_bytes())
    return found


def _descriptions(whole: bytes) -> dict[str, bytes]:
    endless = json.loads(whole)
    endless["audit"][0]["images_per_label"] = 10**12
    return {"whole.json": whole, "endless-audit.json": json.dumps(endless).encode()}


def _images() -> dict[str, bytes]:
    grey = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    found = {}
    for name, picture, kind, options in [
        ("grey.png", grey, "PNG", {}),
        ("16-bit.png", Image.fromarray(np.full((3, 3), 40_000, np.uint16)), "PNG", {}),
        ("cmyk.jpg", grey.convert("CMYK"), "JPEG", {}),
        ("palette.gif", grey.convert("P"), "GIF", {}),
        (
            "animated.gif", grey.convert("P"), "GIF",
            {"save_all": True, "append_images": [grey.rotate(90).convert("P")]},
        ),
        ("grey.tif", grey, "TIFF", {}),
        ("colour.bmp", grey.convert("RGB"), "BMP", {}),
        ("colour.webp", grey.convert("RGB"), "WEBP", {}),
    ]:  # fmt: skip
        buffer = io.BytesIO()
        picture.save(buffer, format=kind, **options)
        found[name] = buffer.getvalue()
    found["truncated.png"] = found["grey.png"][:50]
    found["huge.png"] = _huge_png()
    return found


def _huge_png() -> bytes:
    """Sixty bytes that say they are 9,000 x 9,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 9_000, 9_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


def header(arrays: dict[str, tuple[str, list[int]]], length: int | None = None) -> bytes:
    """The head of a file of arrays, given by type and shape, that are not in the file."""
    described = {
        name: {"dtype": kind, "shape": shape, "data_offsets": [0, 4 * math.prod(shape)]}
        for name, (kind, shape) in arrays.items()
    }
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


if __name__ == "__main__":
    for target, contents in seeds().items():
        for name, content in contents.items():
            path = CORPUS / target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
