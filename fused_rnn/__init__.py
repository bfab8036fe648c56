"""RNN, LSTM and GRU for PyTorch with the recurrence as one fused op.

`RNN`, `LSTM`, `GRU` and `RNNCell`, `LSTMCell`, `GRUCell` take torch.nn's arguments and hold its
parameters; `convert` and `revert` swap those of a model, and `prepack` packs their weights for
inference on the CPU; `functional` has them as functions, and
`reference` in plain PyTorch; `diagnostics` shows a layer's gradients through time and its gates.
"""

from . import _checkout

__path__ += _checkout.installed_folders()
__version__ = "0.1.0"

from . import diagnostics as diagnostics  # noqa: E402
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
from .prepack import prepack as prepack  # noqa: E402
