"""Makes the memory that comes with the package, digits-demo.

    python -m benchmarks.demo_memory

Learns the ten digits one after another with DGMw, and puts a reduced copy of the run into the
package. The settings are the digits' preset, but the generator is smaller: the memory takes less
than a megabyte. The run itself stays in runs/digits-demo, and the command resumes it from there.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from dgm_tf import memories
from dgm_tf.runs.run_folder import RunFolder
from trainers import split_digits

NAME = "digits-demo"
RUN = f"runs/{NAME}"
TRAINING = (f"--run_dir={RUN}", "--generator_size=8", "--verbosity=1")
MOST_BYTES = 1_000_000


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(arguments: Sequence[str] = ()) -> int:
    """Makes the memory and returns an exit code.

    Args:
        arguments: flags of trainers.split_digits that win over `TRAINING`.
    """
    if code := split_digits.main([*TRAINING, *arguments]):
        return code
    folder = Path(memories.__file__).parent / NAME
    RunFolder(RUN).write_reduced(folder)
    found = size(folder)
    print(f"{folder}: {found:,} bytes")
    if found >= MOST_BYTES:
        print(f"error: expected less than {MOST_BYTES:,} bytes", file=sys.stderr)
    return int(found >= MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
