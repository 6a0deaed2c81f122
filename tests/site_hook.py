"""The hook of the documents' site, docs/generated.py, as a module."""

import importlib.util
import sys
from pathlib import Path

_PATH = Path(__file__).parent.parent / "docs" / "generated.py"
_SPEC = importlib.util.spec_from_file_location("site_hook_of_docs", _PATH)
hook = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = hook  # where dataclasses look for it
_SPEC.loader.exec_module(hook)
