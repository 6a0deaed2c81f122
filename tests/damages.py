"""What can befall a checkpoint on disk, and a disk."""

import json
import os

from dgm_tf.storage import checkpoint


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def resealed(folder, *, arrays=None):
    """Puts bytes in place of a checkpoint's arrays and makes its checksum good again."""
    if arrays is not None:
        (folder / checkpoint.ARRAYS_FILE).write_bytes(arrays)
    path = folder / checkpoint.STATE_FILE
    state = json.loads(path.read_text())
    text = checkpoint._dumps(state["meta"])
    state["sha256"] = checkpoint._digest((folder / checkpoint.ARRAYS_FILE).read_bytes(), text)
    path.write_text(json.dumps(state))


def full_disk(*arguments, **options):
    """Stands in for a function of the system that writes."""
    raise OSError(28, "No space left on device")


DAMAGES = {
    "torn": lambda folder: (folder / "state.json").unlink(),
    "truncated": lambda folder: os.truncate(folder / "arrays.safetensors", 100),
    "a bit flipped": lambda folder: flip_a_bit(folder / "arrays.safetensors"),
    "a bit flipped in its text": lambda folder: flip_a_bit(folder / "state.json"),
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
    "foreign": lambda folder: (folder / "state.json").write_text('{"format": "another"}'),
}
