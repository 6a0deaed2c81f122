"""Lists the commands, or runs one: python -m trainers, python -m trainers learn --help, dgm."""

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from dgm_tf.errors import InputError
from trainers import command
from trainers.flags import program

GROUPS = {
    "learn": ("learn", "split_*"),
    "look": ("report", "judge", "audit"),
    "use": ("classify", "sample", "show", "export"),
    "study": ("table1", "tune"),
}


def commands() -> dict[str, list[Path]]:
    """The modules of the commands by group."""
    folder = Path(__file__).parent
    return {
        group: [path for each in patterns for path in sorted(folder.glob(f"{each}.py"))]
        for group, patterns in GROUPS.items()
    }


def listing() -> str:
    """Each command with the first line of what it does."""
    lines = [f"Begin with: {program('split_digits')}", ""]
    for group, paths in commands().items():
        lines.append(f"{group}:")
        for path in paths:
            about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
            lines.append(f"  {program(f'{path.stem:20}')} {about}")
        lines.append("")
    return "\n".join([*lines, "--help after a command shows examples and its most useful flags."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names, and returns its exit code."""
    typed = sys.argv[1:] if arguments is None else arguments
    name, *others = typed or [""]
    names = [path.stem for paths in commands().values() for path in paths]
    if name in names:
        return importlib.import_module(f"trainers.{name}").main(others)
    with command.outcome() as outcome:
        if name not in ("", "--help", "-h", "help"):
            raise InputError(f"there is no command {name!a}; there are {', '.join(names)}")
        command.say(listing())
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
