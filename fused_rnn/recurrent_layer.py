"""`RecurrentLayer`: what `RNN`, `LSTM` and `GRU` share, which is all but a state's form."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from . import ops
from .functional import Weights, stack

RANKS = {2: "unbatched 2-D", 3: "batched 3-D"}  # in torch.nn's error messages


class RecurrentLayer(torch.nn.RNNBase):
    """The forward pass of every layer, over states that are one tensor or a tuple (h, c)."""

    def forward(
        self, input: Tensor | PackedSequence, hx: Any = None
    ) -> tuple[Tensor | PackedSequence, Any]:
        """Run the layers over a sequence.

        Args:
            input: [steps, batch, input_size], with `batch_first` [batch, steps, input_size];
                unbatched [steps, input_size]; or a `PackedSequence`.
            hx: Initial state h_0, [layers * directions, batch, hidden_size], unbatched without the
                batch; for `LSTM` a tuple (h_0, c_0). Zeros if None.

        Returns:
            `(output, h_n)`, for `LSTM` `(output, (h_n, c_n))`: the last layer's state after every
            step, [..., directions * hidden_size], laid out as `input`, and the final states, laid
            out as `hx`. No steps are legal: the output is empty, the final state the initial one.
            With `proj_size`, h_0, h_n and the output have proj_size features for hidden_size.

        Raises:
            TypeError: `input` or `hx` is of no type named above.
            ValueError: The rank or the dtype of `input` is wrong.
            RuntimeError: The rank of `hx` or a size is wrong.
        """
        self._update_flat_weights()
        if not torch.compiler.is_compiling():
            result = self._forward_plain(input, hx)
            if result is not None:
                return result
        if isinstance(input, PackedSequence):
            self._check_hx(hx, 3)
            return self._forward_packed(input, hx)
        if not isinstance(input, Tensor):
            raise TypeError(
                f"input: expected a Tensor or a PackedSequence, but got {type(input).__name__}"
            )
        check_dense("input", input)
        rank = input.dim()
        if rank not in (2, 3):
            raise ValueError(self._rank_message.format(rank))
        self._check_hx(hx, rank)
        if rank == 3:
            return self._forward_batched(input, hx)
        return self._forward_unbatched(input, hx)

    def _forward_plain(self, input: Any, hx: Any) -> tuple[Tensor, Any] | None:
        """What nearly every call is, in one call; None for all others, and where checks have words.

        A short sequence takes less time than those checks and `stack` do.
        """
        if self.training and self.dropout > 0:
            return None
        h_0, c_0 = hx, None
        if self.mode == "LSTM" and isinstance(hx, tuple) and len(hx) == 2:
            h_0, c_0 = hx
            if h_0 is None:
                return None
        result = ops.plain_stack(
            input,
            h_0,
            c_0,
            self.mode.lower(),
            self.bias,
            self.proj_size > 0,
            self.bidirectional,
            self.batch_first,
            self._flat_weights,
            self.input_size,
            self.hidden_size,
            self.num_layers,
        )
        if result is None:
            return None
        output, h_n, c_n = result
        return output, h_n if c_n is None else (h_n, c_n)

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, batch_sizes, sorted_indices, unsorted_indices = input
        self._check_sizes(data, hx, batch_sizes)
        if hx is not None:
            hx = self.permute_hidden(hx, sorted_indices)
        output, hidden = self._run(data, hx, batch_sizes)
        packed = PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices)
        return packed, self.permute_hidden(hidden, unsorted_indices)

    def _forward_batched(self, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
        self._check_sizes(input, hx, None)
        if not self.batch_first:
            return self._run(input, hx, None)
        # Copied once: forward and backward both take the rows step by step.
        output, hidden = self._run(input.transpose(0, 1).contiguous(), hx, None)
        return output.transpose(0, 1), hidden

    def _forward_unbatched(self, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
        batch_dim = 0 if self.batch_first else 1
        hx = _map(lambda state: state.unsqueeze(1), hx)
        output, hidden = self._forward_batched(input.unsqueeze(batch_dim), hx)
        return output.squeeze(batch_dim), _map(lambda state: state.squeeze(1), hidden)

    def _run(
        self, input: Tensor, hx: Any, batch_sizes: Tensor | None, op: ops.Layer = ops.layer
    ) -> tuple[Tensor, Any]:
        """Apply the layers to an input that starts with the steps."""
        output, h_n, c_n = stack(
            self.mode.lower(),
            input,
            (hx, None) if isinstance(hx, Tensor) else hx,
            self._weights(),
            bidirectional=self.bidirectional,
            dropout=self.dropout if self.training else 0.0,
            batch_sizes=batch_sizes,
            op=op,
        )
        return output, h_n if c_n is None else (h_n, c_n)

    def _weights(self) -> list[Weights]:
        """The weights of each layer and direction, as they are now."""
        if torch.compiler.is_compiling():  # what stands in for the parameters is not to be kept
            flat: list[Any] = [getattr(self, name) for name in self._flat_weights_names]
        else:
            flat = self._flat_weights
        size = 2 + 2 * self.bias + (self.proj_size > 0)
        weights = []
        for first in range(0, len(flat), size):
            weight_ih, weight_hh, *rest = flat[first : first + size]
            weight_hr = rest.pop() if self.proj_size > 0 else None
            bias_ih, bias_hh = rest if self.bias else (None, None)
            weights.append(Weights(weight_ih, weight_hh, bias_ih, bias_hh, weight_hr))
        return weights

    def _update_flat_weights(self) -> None:
        """Bring `_flat_weights` up to date with the attributes, by torch.nn's rule.

        An attribute that is not the tensor last seen under its name wins: one that was assigned, is
        parametrized, or is replaced by `functional_call`. Otherwise `_flat_weights` holds, to which
        libraries assign. While each weight is the parameter last seen there is nothing to do, and
        that is seen here in a fraction of the time that torch.nn takes.
        """
        if torch.compiler.is_compiling():
            return
        parameters = self._parameters
        for name, seen in zip(self._flat_weights_names, self._flat_weight_refs, strict=True):
            weight = parameters.get(name)
            if weight is None or seen is None or seen() is not weight:
                super()._update_flat_weights()
                return

    _rank_message: str  # torch.nn's words for an input of a wrong rank

    def _check_hx(self, hx: Any, rank: int) -> None:
        """Check the type and the rank of the initial state for an input of this rank."""
        if hx is None:
            return
        if not isinstance(hx, Tensor):
            raise TypeError(f"hx: expected a Tensor, but got {type(hx).__name__}")
        check_dense("hx", hx)
        if hx.dim() != rank:
            raise RuntimeError(
                f"For {RANKS[rank]} input, hx should also be {rank}-D but got {hx.dim()}-D tensor"
            )

    def _check_sizes(self, input: Tensor, hx: Any, batch_sizes: Tensor | None) -> None:
        if hx is None:
            self.check_input(input, batch_sizes)
        else:
            self.check_forward_args(input, hx, batch_sizes)


def _map(function: Callable[[Tensor], Tensor], states: Any) -> Any:
    """Apply a function to a state that is a tensor, a pair of them, or None."""
    if states is None or isinstance(states, Tensor):
        return states if states is None else function(states)
    return tuple(function(state) for state in states)


def check_dense(name: str, tensor: Tensor) -> None:
    """Name a sparse argument; ATen's views of it, before the op, would fail without its name."""
    if tensor.layout != torch.strided:
        raise RuntimeError(f"{name}: expected a dense tensor, but got layout {tensor.layout}")
