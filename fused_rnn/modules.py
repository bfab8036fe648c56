"""`RNN`, `LSTM` and `GRU`: torch.nn's recurrent layers over the fused recurrence.

They derive from `torch.nn.RNNBase`, which owns parameters, initialisation, checks of sizes, repr
and pickling, and hold no attribute that torch.nn's layers do not hold: `convert` relies on it.
"""

from typing import Any

import torch
from torch import Tensor

from .recurrent_layer import RANKS, RecurrentLayer, check_dense

Device = torch.device | str | int | None


class RNN(RecurrentLayer):
    """Elman RNN layers; arguments, parameters and results are `torch.nn.RNN`'s.

    Args:
        proj_size: Refused, as `torch.nn.RNN` does.
        nonlinearity: "tanh" or "relu".

    All other arguments are those of `LSTM`.

    Raises:
        TypeError, ValueError: As `torch.nn.RNN`.
    """

    _rank_message = "RNN: Expected input to be 2D or 3D, got {}D tensor instead"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        proj_size: None = None,
    ) -> None:
        _refuse_proj_size(proj_size)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            "RNN_TANH" if nonlinearity == "tanh" else "RNN_RELU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class LSTM(RecurrentLayer):
    """Long short-term memory layers; arguments, parameters and results are `torch.nn.LSTM`'s.

    Args:
        input_size: Features of the input.
        hidden_size: Features of the cell state, and of the state without `proj_size`.
        num_layers: Number of layers, each on the output of the one below it.
        bias: Give each layer the biases b_ih and b_hh.
        batch_first: Take and give dense data as [batch, steps, features].
        dropout: Probability to zero a feature between two layers in training.
        bidirectional: Give each layer a second direction, from the last step to the first.
        proj_size: Features that the state is projected to at every step; 0 for no projection.
        device: Device of the parameters.
        dtype: Type of the parameters: float64, float32, bfloat16 or float16.

    Raises:
        TypeError, ValueError: As `torch.nn.LSTM`.
    """

    _rank_message = "LSTM: Expected input to be 2D or 3D, got {}D instead"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )

    # torch.nn.LSTM is no base (torch.compile refuses its subclasses), but these are its rules for
    # a state of two tensors.
    get_expected_cell_size = torch.nn.LSTM.get_expected_cell_size
    check_forward_args = torch.nn.LSTM.check_forward_args  # type: ignore[assignment]
    permute_hidden = torch.nn.LSTM.permute_hidden  # type: ignore[assignment]

    def _check_hx(self, hx: Any, rank: int) -> None:
        if hx is None:
            return
        if not isinstance(hx, tuple | list):
            raise TypeError(f"hx: expected a tuple (h_0, c_0), but got {type(hx).__name__}")
        if len(hx) != 2:
            raise TypeError(f"hx: expected a tuple (h_0, c_0), but got {len(hx)} elements")
        for index, state in enumerate(hx):
            if not isinstance(state, Tensor):
                raise TypeError(f"hx[{index}]: expected a Tensor, but got {type(state).__name__}")
            check_dense(f"hx[{index}]", state)
        h, c = hx
        if h.dim() != rank or c.dim() != rank:
            raise RuntimeError(
                f"For {RANKS[rank]} input, hx and cx should also be {rank}-D "
                f"but got ({h.dim()}-D, {c.dim()}-D) tensors"
            )


class GRU(RecurrentLayer):
    """Gated recurrent unit layers; arguments, parameters and results are `torch.nn.GRU`'s.

    Args:
        proj_size: Refused, as `torch.nn.GRU` does.

    All other arguments are those of `LSTM`.

    Raises:
        TypeError, ValueError: As `torch.nn.GRU`.
    """

    _rank_message = "GRU: Expected input to be 2D or 3D, got {}D instead"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        proj_size: None = None,
    ) -> None:
        _refuse_proj_size(proj_size)
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )


def _refuse_proj_size(proj_size: object) -> None:
    if proj_size is not None:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
