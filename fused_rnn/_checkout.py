"""Where the compiled library is when Python runs in a checkout.

The folder fused_rnn of a checkout hides the installed package, the only one with the library; so
where it has none itself, the installed folder is searched after it.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path


def installed_folders() -> list[str]:
    """The folders of this package that `sys.path` offers besides this one."""
    here = Path(__file__).resolve().parent
    if any(here.joinpath("_C" + suffix).exists() for suffix in EXTENSION_SUFFIXES):
        return []
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != here.parent]
    spec = PathFinder.find_spec("fused_rnn", elsewhere)
    return [] if spec is None else list(spec.submodule_search_locations or [])
