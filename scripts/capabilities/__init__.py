"""What PyTorch can do with a layer: ROWS, each to be tried on torch.nn and on fused_rnn.

A row runs one capability and returns numbers beside those expected, so that none passes by running.
"""

from . import batching, compilation, derivatives, tools
from .table import GROUPS, ROWS, Row

__all__ = ["GROUPS", "ROWS", "Row", "batching", "compilation", "derivatives", "tools"]

ROWS.sort(key=lambda row: GROUPS.index(row.group))
