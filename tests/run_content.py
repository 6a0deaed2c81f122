"""What is in folders, and what two runs of one command must have in common."""

import json

from dgm_tf.storage import checkpoint


def content(folder):
    """Everything in a run folder by path, without times and dates; hidden names are leftovers."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or "/." in f"/{name}":
            continue
        if path.name == "metrics.jsonl":
            lines = path.read_text().splitlines()
            found[name] = [without_times(json.loads(line)) for line in lines]
        elif path.name == "settings.json":
            found[name] = {**json.loads(path.read_text()), "date": None}
        elif path.name == "state.json":
            meta, arrays = checkpoint.load(path.parent)
            row = without_times(meta.pop("row", {}))
            found[name] = (meta, row, {key: array.tobytes() for key, array in arrays.items()})
        else:
            found[name] = path.read_bytes()
    return found


def without_times(row):
    """Without what differs from one process to the next."""
    return {k: v for k, v in row.items() if "seconds" not in k and k != "peak_memory_mib"}


def files(folder):
    """Every file below a folder by its relative path, hidden ones included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
