"""`RNNCell`, `LSTMCell` and `GRUCell`: one step of a layer, as torch.nn's cells.

They derive from `torch.nn.RNNCellBase`, which owns parameters, initialisation and repr, and hold no
attribute that torch.nn's cells do not hold: `convert` relies on it.
"""

from typing import Any

import torch
from torch import Tensor

from . import ops

Device = torch.device | str | int | None

WEIGHTS = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
GETATTR = torch.nn.Module.__getattr__
RNN_CELLS = {"tanh": "rnn_tanh", "relu": "rnn_relu"}


def _casts(device: str) -> bool:
    """Whether autocast will make arguments on this type of device equal in dtype."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


class _RecurrentCell(torch.nn.RNNCellBase):
    """What the cells share: the checks of their arguments and one step of the recurrence."""

    _name: str  # as torch.nn's errors name the class

    def _check_input(self, input: object) -> None:
        if not isinstance(input, Tensor):
            raise TypeError(f"input: expected a Tensor, but got {type(input).__name__}")
        if input.dim() not in (1, 2):
            raise ValueError(
                f"{self._name}: Expected input to be 1D or 2D, got {input.dim()}D instead"
            )
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                "input has inconsistent input_size: "
                f"got {input.size(-1)} expected {self.input_size}"
            )
        dtype = self.weight_ih.dtype
        if input.dtype != dtype and not _casts(input.device.type):
            raise RuntimeError(
                f"input: expected dtype {dtype} (that of weight_ih), but got {input.dtype}"
            )

    def _check_state(self, state: object, name: str, leading: torch.Size | None = None) -> None:
        """`leading` is the batch of the input, once that has been checked."""
        if not isinstance(state, Tensor):
            raise TypeError(f"{name}: expected a Tensor, but got {type(state).__name__}")
        if state.dim() not in (1, 2):
            name = "hidden" if name == "hx" else name  # torch.nn's words
            raise ValueError(
                f"{self._name}: Expected {name} to be 1D or 2D, got {state.dim()}D instead"
            )
        if leading is not None and state.shape != (*leading, self.hidden_size):
            expected = [*leading, self.hidden_size]
            raise RuntimeError(f"{name}: expected shape {expected}, but got {[*state.shape]}")

    def _step(
        self, cell: str, input: Tensor, h: Tensor | None, c: Tensor | None
    ) -> tuple[Tensor, Any]:
        """The state `(h, c)` after one step from `h` and `c`, or from zeros if both are None."""
        compiling = torch.compiler.is_compiling()
        w_ih, b_ih, w_hh, b_hh = self._weights_by_attribute() if compiling else self._weights()
        if not compiling:
            # What is nearly always right is seen there to be so; if not, the checks below say why.
            state = ops.plain_step(input, w_ih, b_ih, h, c, w_hh, b_hh, cell)
            if state is not None:
                return state
        has_c = ops.CELLS[cell]["has_c"]
        self._check_input(input)
        if h is not None or c is not None:
            self._check_state(h, "hx[0]" if has_c else "hx", input.shape[:-1])
            if has_c:
                self._check_state(c, "hx[1]", input.shape[:-1])
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
            h = h if h is None else h.unsqueeze(0)
            c = c if c is None else c.unsqueeze(0)
        if h is None:
            h = input.new_zeros(input.size(0), self.hidden_size)
            c = h if has_c else None
        h, c = ops.step(input, w_ih, b_ih, h, c, w_hh, b_hh, cell)
        if batched:
            return h, c
        return h.squeeze(0), c if c is None else c.squeeze(0)

    def _weights(self) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """The weights, past `Module.__getattr__`: it takes as long as a small step.

        Not where an attribute of the cell hides a parameter, where a class has a `__getattr__` of
        its own, nor where a weight is computed.
        """
        p: dict[str, Any] = self._parameters
        if type(self).__getattr__ is GETATTR and self.__dict__.keys().isdisjoint(WEIGHTS):
            try:
                return p["weight_ih"], p["bias_ih"], p["weight_hh"], p["bias_hh"]
            except KeyError:
                pass
        return self._weights_by_attribute()

    def _weights_by_attribute(self) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        return self.weight_ih, self.bias_ih, self.weight_hh, self.bias_hh


class RNNCell(_RecurrentCell):
    """One step of an Elman RNN; arguments, parameters and results are `torch.nn.RNNCell`'s.

    Args:
        input_size: Features of the input.
        hidden_size: Features of the state.
        bias: Give the cell the biases b_ih and b_hh.
        nonlinearity: "tanh" or "relu".
        device: Device of the parameters.
        dtype: Type of the parameters: float64, float32, bfloat16 or float16.
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]
    _name = "RNNCell"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Take one step.

        Args:
            input: [batch, input_size], or unbatched [input_size].
            hx: State, [batch, hidden_size], or unbatched [hidden_size]; zeros if None.

        Returns:
            The new state, laid out as `hx`.

        Raises:
            TypeError: An argument is not a tensor.
            ValueError: A rank is wrong.
            RuntimeError: A size, a dtype, a device or `nonlinearity` is wrong.
        """
        cell = RNN_CELLS.get(self.nonlinearity)
        if cell is None:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(cell, input, hx, None)[0]


class LSTMCell(_RecurrentCell):
    """One step of an LSTM; arguments, parameters and results are `torch.nn.LSTMCell`'s.

    Args:
        input_size: Features of the input.
        hidden_size: Features of the state and of the cell state.
        bias: Give the cell the biases b_ih and b_hh.
        device: Device of the parameters.
        dtype: Type of the parameters: float64, float32, bfloat16 or float16.
    """

    _name = "LSTMCell"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            input: [batch, input_size], or unbatched [input_size].
            hx: State and cell state, [batch, hidden_size] each, or unbatched [hidden_size]; zeros
                if None.

        Returns:
            The new state and cell state, laid out as `hx`.

        Raises:
            TypeError: An argument is not a tensor, or `hx` not a pair of them.
            ValueError: A rank is wrong.
            RuntimeError: A size, a dtype or a device is wrong.
        """
        if hx is None:
            return self._step("lstm", input, None, None)
        if not isinstance(hx, tuple | list):
            raise TypeError(f"hx: expected a tuple (h_0, c_0), but got {type(hx).__name__}")
        if len(hx) != 2:
            raise TypeError(f"hx: expected a tuple (h_0, c_0), but got {len(hx)} elements")
        self._check_state(hx[0], "hx[0]")  # None there is not what None for both is
        return self._step("lstm", input, hx[0], hx[1])


class GRUCell(_RecurrentCell):
    """One step of a GRU; arguments, parameters and results are `torch.nn.GRUCell`'s.

    Args:
        input_size: Features of the input.
        hidden_size: Features of the state.
        bias: Give the cell the biases b_ih and b_hh.
        device: Device of the parameters.
        dtype: Type of the parameters: float64, float32, bfloat16 or float16.
    """

    _name = "GRUCell"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Take one step.

        Args:
            input: [batch, input_size], or unbatched [input_size].
            hx: State, [batch, hidden_size], or unbatched [hidden_size]; zeros if None.

        Returns:
            The new state, laid out as `hx`.

        Raises:
            TypeError: An argument is not a tensor.
            ValueError: A rank is wrong.
            RuntimeError: A size, a dtype or a device is wrong.
        """
        return self._step("gru", input, hx, None)[0]
