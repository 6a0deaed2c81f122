"""What can befall a checkpoint on disk."""

import os


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "torn": lambda folder: (folder / "state.json").unlink(),
    "truncated": lambda folder: os.truncate(folder / "arrays.npz", 100),
    "a bit flipped": lambda folder: flip_a_bit(folder / "arrays.npz"),
    "a bit flipped in its text": lambda folder: flip_a_bit(folder / "state.json"),
    "empty": lambda folder: [path.unlink() for path in folder.iterdir()],
    "foreign": lambda folder: (folder / "state.json").write_text('{"format": "another"}'),
}
