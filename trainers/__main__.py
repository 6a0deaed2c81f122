"""Lists the commands: python -m trainers."""

import ast
from pathlib import Path

GROUPS = {
    "learn": ("split_*", "table1"),
    "look": ("report", "judge", "audit"),
    "use": ("export", "sample"),
    "tune": ("tune",),
}


def listing() -> str:
    """Each command with the first line of what it does."""
    folder = Path(__file__).parent
    lines = []
    for group, patterns in GROUPS.items():
        lines.append(f"{group}:")
        for path in (path for each in patterns for path in sorted(folder.glob(f"{each}.py"))):
            about = ast.get_docstring(ast.parse(path.read_text())).splitlines()[0]
            lines.append(f"  python -m trainers.{path.stem:20} {about}")
    return "\n".join([*lines, "--help after a command shows its flags."])


if __name__ == "__main__":
    print(listing())
