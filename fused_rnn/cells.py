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


def _check_agreement(
    input: Tensor, states: dict[str, Tensor | None], weight_ih: Tensor, weight_hh: Tensor
) -> None:
    """That the input goes with the weights and the states, where there are any, with the input."""
    _check_like("input", input, "weight_ih", weight_ih)
    shape = [*input.shape[:-1], weight_hh.size(-1)]
    for name, state in states.items():
        if state is None:
            continue
        _check_like(name, state, "input", input)
        if [*state.shape] != shape:
            raise RuntimeError(f"{name}: expected shape {shape}, but got {[*state.shape]}")


def _check_like(name: str, tensor: Tensor, other: str, like: Tensor) -> None:
    """That a tensor has the dtype, unless autocast will see to that, and the device of another."""
    if tensor.device != like.device:
        raise RuntimeError(
            f"{name}: expected device {like.device} (that of {other}), but got {tensor.device}"
        )
    if tensor.dtype != like.dtype:
        device = tensor.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            return
        expected, got = (str(t.dtype).removeprefix("torch.") for t in (like, tensor))
        raise RuntimeError(f"{name}: expected dtype {expected} (that of {other}), but got {got}")


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

    def _check_state(self, state: object, name: str) -> None:
        if not isinstance(state, Tensor):
            raise TypeError(f"{name}: expected a Tensor, but got {type(state).__name__}")
        if state.dim() not in (1, 2):
            name = "hidden" if name == "hx" else name  # torch.nn's words
            raise ValueError(
                f"{self._name}: Expected {name} to be 1D or 2D, got {state.dim()}D instead"
            )

    def _step(
        self, cell: str, input: Tensor, h: Tensor | None, c: Tensor | None
    ) -> tuple[Tensor, Any]:
        """The state `(h, c)` after one step from `h` and `c`, or from zeros if both are None."""
        compiling = torch.compiler.is_compiling()
        w_ih, b_ih, w_hh, b_hh = self._weights_by_attribute() if compiling else self._weights()
        if not compiling:
            # What is nearly always right is seen there to be so; if not, the checks below say why.
            result = ops.plain_step(input, w_ih, b_ih, h, c, w_hh, b_hh, cell)
            if result is not None:
                return result
        states = {"hx[0]": h, "hx[1]": c} if ops.CELLS[cell]["has_c"] else {"hx": h}
        self._check_input(input)
        if h is not None or c is not None:
            for name, state in states.items():
                self._check_state(state, name)
        if not compiling:  # if so the op checks: sizes may be unknown
            _check_agreement(input, states, w_ih, w_hh)
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
            h = h if h is None else h.unsqueeze(0)
            c = c if c is None else c.unsqueeze(0)
        if h is None:
            h = input.new_zeros(input.size(0), self.hidden_size)
            c = h if len(states) == 2 else None
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
