"""RNN, LSTM and GRU for PyTorch with the recurrence as one fused op.

In a checkout this folder hides the installed package, the only one with the compiled library; so
where it has none itself, the installed folder is searched after it.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path


def _installed_folders() -> list[str]:
    """The folders of this package that `sys.path` offers besides this one."""
    here = Path(__file__).resolve().parent
    if any(here.joinpath("_C" + suffix).exists() for suffix in EXTENSION_SUFFIXES):
        return []
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != here.parent]
    spec = PathFinder.find_spec(__name__, elsewhere)
    return [] if spec is None else list(spec.submodule_search_locations or [])


__path__ += _installed_folders()

from . import functional as functional  # noqa: E402
from . import reference as reference  # noqa: E402
from .cells import GRUCell as GRUCell  # noqa: E402
from .cells import LSTMCell as LSTMCell  # noqa: E402
from .cells import RNNCell as RNNCell  # noqa: E402
from .convert import Conversion as Conversion  # noqa: E402
from .convert import convert as convert  # noqa: E402
from .convert import revert as revert  # noqa: E402
from .modules import GRU as GRU  # noqa: E402
from .modules import LSTM as LSTM  # noqa: E402
from .modules import RNN as RNN  # noqa: E402
