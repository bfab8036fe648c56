"""What happens inside a recurrent layer over time: the gradients of its states, and its gates.

The layer runs step by step in plain PyTorch (`reference`), so that every state of every step is a
tensor of its own. That is exact, and slow: a tool to look at a network, not to train it.

Results are [layers * directions, steps, batch, features], whatever `batch_first` is, and for an
unbatched input [layers * directions, steps, features]. The first dimension is that of `h_n`: layer
0 forward, layer 0 reverse, layer 1 forward, ... Steps are the input's: in reverse, time runs from
the last to the first. Of a `PackedSequence` the sequences lie in their order before they were
packed, and steps that a sequence does not have are 0.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, pad
from torch.nn.utils.rnn import PackedSequence

from . import ops, reference
from .recurrent_layer import RecurrentLayer

Input = Tensor | PackedSequence

# A layer in one direction: by name, its states and gates at every step, in the input's order,
# [sequences that have the step, features] each.
Run = dict[str, list[Tensor]]

STATES = ("h", "c")


class States(NamedTuple):
    """A tensor for each state of a layer: `h`, and the cell state `c` of an LSTM, else None."""

    h: Tensor
    c: Tensor | None


def gradient_norms(
    layer: RecurrentLayer, input: Input, loss_fn: Callable[[Any], Tensor], hx: Any = None
) -> States:
    """The norm of a loss's gradient for the states after every step, for each sequence.

    Where it shrinks by a factor for every step that one goes back, gradients vanish; where it
    grows, they explode. Arguments and errors are those of `state_gradients`.

    Returns:
        Euclidean norms over the features, [layers * directions, steps, batch].
    """
    h, c = state_gradients(layer, input, loss_fn, hx)
    return States(_norm(h), None if c is None else _norm(c))


def _norm(gradient: Tensor) -> Tensor:
    """In float64: squares of vanishing and of exploding gradients leave the range of float32."""
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=-1, dtype=torch.float64)
    return norm.to(gradient.dtype)


def state_gradients(
    layer: RecurrentLayer, input: Input, loss_fn: Callable[[Any], Tensor], hx: Any = None
) -> States:
    """The gradient of a loss for the states after every step: d loss / d h_t, d loss / d c_t.

    These are total derivatives: of all that the loss owes to a state, be it through the output, the
    layer above or later steps; for c_t also through h_t. No `.grad` is touched. In training mode
    dropout is drawn as the layer draws it. The layer's hooks run on a copy of it.

        norms = gradient_norms(lstm, x, lambda result: criterion(head(result[0][-1]), y))

    Args:
        layer: An `RNN`, `LSTM` or `GRU` of fused_rnn.
        input: As the layer takes it: batched, unbatched or a `PackedSequence`.
        loss_fn: Takes what the layer returns and gives the loss, a tensor of one element.
        hx: Initial state, as the layer takes it.

    Returns:
        The gradients [layers * directions, steps, batch, features] in the layer's dtype; features
        are hidden_size, but proj_size for h of an LSTM that has it.

    Raises:
        TypeError: `layer` or what `loss_fn` returns is of another type.
        ValueError: The loss has more than one element, or does not depend on the result.
        TypeError, ValueError, RuntimeError: As the layer.
    """
    with torch.inference_mode(False), torch.enable_grad():
        result, runs = _watch(layer, input, hx)
        value = loss_fn(result)
    _check_loss(value)
    states = [state for run in runs for name in STATES for state in run.get(name, ())]
    found: Iterator[Tensor] = iter(())
    if states:
        if not value.requires_grad:
            raise ValueError(
                "loss_fn: expected it to depend on the layer's result, but it does not"
            )
        found = iter(torch.autograd.grad(value, states, materialize_grads=True))
    gradients = [
        {name: [next(found) for _ in run[name]] for name in STATES if name in run} for run in runs
    ]
    h, *c = [_over_time(layer, input, gradients, name) for name in STATES if name in runs[0]]
    return States(h, c[0] if c else None)


def gates(layer: RecurrentLayer, input: Input, hx: Any = None) -> dict[str, Tensor]:
    """The states and the gates at every step, after their sigmoid or tanh.

    Args:
        layer: As in `state_gradients`.
        input: As in `state_gradients`.
        hx: As in `state_gradients`.

    Returns:
        By name, [layers * directions, steps, batch, hidden_size] each, in the layer's dtype:

        - `RNN`: "h", the activation;
        - `LSTM`: "input", "forget", "cell" (the candidate), "output", "c", and "h", which has
          proj_size features in an LSTM that has it;
        - `GRU`: "reset", "update", "new" (the candidate), "h".

    Raises:
        TypeError, ValueError, RuntimeError: As `state_gradients`.
    """
    with torch.no_grad():
        _, runs = _watch(layer, input, hx)
    return {name: _over_time(layer, input, runs, name) for name in runs[0]}


def _watch(layer: RecurrentLayer, input: Input, hx: Any) -> tuple[Any, list[Run]]:
    """What the layer returns, and what happened in it, a run for each layer and direction."""
    if not isinstance(layer, RecurrentLayer):
        kind = type(layer)
        raise TypeError(
            f"layer: expected an RNN, LSTM or GRU of fused_rnn, but got {kind.__module__}."
            f"{kind.__qualname__}; fused_rnn.convert makes them of torch.nn's"
        )
    runs: list[Run] = []
    # The same parameters and hooks; `copy` refuses parametrized layers.
    watched = object.__new__(type(layer))
    vars(watched).update(vars(layer), _compiled_call_impl=None)
    watched._forward_plain = lambda input, hx: None  # type: ignore[method-assign] # no _run in it
    watched._run = partial(watched._run, op=partial(_run_layer, runs))  # type: ignore[method-assign]
    return watched(input, hx), runs


def _run_layer(
    runs: list[Run],
    input: Tensor,
    weight_ih: Tensor,
    bias_ih: Tensor | None,
    h_0: Tensor,
    c_0: Tensor | None,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None,
    batch_sizes: Tensor | None,
    cell: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What `ops.layer` gives, by the reference; adds to `runs` what happened."""
    loop = (weight_hh, bias_hh, weight_hr, batch_sizes)
    with torch.no_grad():  # for its checks of the arguments, and its dtypes under autocast
        real = ops.layer(input, weight_ih, bias_ih, h_0, c_0, *loop, cell, reverse)
    xg = linear(input, weight_ih, bias_ih)
    if torch.is_grad_enabled():
        xg.requires_grad_()  # so that states have gradients where no parameter wants one
    moments: list[reference.Moment] = []
    results = reference.recurrence(
        cell,
        xg,
        h_0,
        c_0,
        weight_hh=weight_hh,
        bias_hh=bias_hh,
        weight_hr=weight_hr,
        batch_sizes=batch_sizes,
        reverse=reverse,
        moments=moments,
    )
    if reverse:
        moments.reverse()
    states = STATES if c_0 is not None else STATES[:1]
    run = {name: [moment.state[i] for moment in moments] for i, name in enumerate(states)}
    for i, name in enumerate(reference.GATES[cell]):
        run[name] = [moment.gates[i] for moment in moments]
    runs.append(run)
    output, h_n, c_n = results
    dtype = real[0].dtype
    return output.to(dtype), h_n.to(dtype), None if c_n is None else c_n.to(dtype)


def _over_time(layer: RecurrentLayer, input: Input, runs: list[Run], name: str) -> Tensor:
    """One quantity of all runs, [layers * directions, steps, batch, features]."""
    order = None
    if isinstance(input, PackedSequence):
        batch, order = int(input.batch_sizes[0]), input.unsorted_indices
    elif input.dim() == 3:
        batch = input.size(0 if layer.batch_first else 1)
    else:
        batch = 1
    features = layer.proj_size if name == "h" and layer.proj_size else layer.hidden_size
    empty = layer._weights()[0].weight_hh.new_empty(0, batch, features)
    values = []
    for run in runs:
        padded = [pad(step, (0, 0, 0, batch - len(step))).unsqueeze(0) for step in run[name]]
        values.append(torch.cat([empty, *padded]))
    result = torch.stack(values).detach()
    if order is not None:
        result = result.index_select(2, order)
    return result.squeeze(2) if isinstance(input, Tensor) and input.dim() == 2 else result


def _check_loss(value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"loss_fn: expected it to return a Tensor, but got {type(value).__name__}")
    if value.numel() != 1:
        raise ValueError(
            f"loss_fn: expected a tensor of one element, but got one of shape {list(value.shape)}"
        )
