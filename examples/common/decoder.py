"""A sequence in, a sequence out: an encoder, a decoder that runs step by step, and attention.

Values are [steps, batch]; the encoder's states, which attention reads, are its memory,
[batch, window, hidden].
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

import fused_rnn

SCORES = ("general", "additive")
ANCHORS = ("start", "previous")


class Attention(nn.Module):
    """Which states of the memory a decoder's state asks for.

    `score` is "general", s W m (Luong et al. 2015, section 3.1), or "additive",
    v tanh(U s + W m) (Bahdanau et al. 2014, appendix A.1.2).
    """

    def __init__(self, hidden: int, score: str) -> None:
        super().__init__()
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.additive = score == "additive"
        if self.additive:
            self.query = nn.Linear(hidden, hidden)
            self.energy = nn.Linear(hidden, 1, bias=False)

    def forward(self, state: Tensor, memory: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The context [batch, hidden] and its weights [batch, window]; `keys` are W m."""
        if self.additive:
            scores = self.energy(torch.tanh(self.query(state).unsqueeze(1) + keys)).squeeze(2)
        else:
            scores = torch.bmm(keys, state.unsqueeze(2)).squeeze(2)
        weights = scores.softmax(dim=1)
        return torch.bmm(weights.unsqueeze(1), memory).squeeze(1), weights


class Decoded(NamedTuple):
    """Forecasts [horizon, batch]; with attention its weights, [horizon, batch, window]."""

    values: Tensor
    weights: Tensor | None


class Seq2Seq(nn.Module):
    """A GRU reads the past, a GRU cell writes the future.

    **Arguments:**

    - `known`: how many features beside the value are known of the future too.
    - `score`: of the attention; None for none.
    - `anchor`: what the head's output is added to: `"start"`, the last value of the past, or
      `"previous"`, the value that the decoder was fed.
    """

    def __init__(
        self, known: int, hidden: int, score: str | None = None, anchor: str = "start"
    ) -> None:
        super().__init__()
        self.anchor = anchor
        self.encoder = fused_rnn.GRU(1 + known, hidden)
        context = 0 if score is None else hidden
        self.cell = fused_rnn.GRUCell(1 + known + context, hidden)
        self.attention = None if score is None else Attention(hidden, score)
        self.head = nn.Linear(hidden + context, 1)

    def forward(self, past: Tensor, known: Tensor, truth: Tensor, teacher: float) -> Decoded:
        """Forecasts as many steps as `known` has, [horizon, batch, features].

        `past` is [window, batch, 1 + features], the value first. A step is fed the value before
        it: with the probability `teacher` the true one of `truth` [horizon, batch], else the
        decoder's own (Bengio et al. 2015, section 2.4). Gradients flow through its own.
        """
        states, state = self.encoder(past)
        state, memory = state[0], states.transpose(0, 1).contiguous()
        keys = None if self.attention is None else self.attention.key(memory)
        start = fed = past[-1, :, 0]
        values, all_weights = [], []
        for now, true in zip(known, truth, strict=True):
            context = memory.new_empty(len(true), 0)
            if self.attention is not None and keys is not None:
                context, weights = self.attention(state, memory, keys)
                all_weights.append(weights)
            state = self.cell(torch.cat([fed.unsqueeze(1), now, context], 1), state)
            anchor = start if self.anchor == "start" else fed
            values.append(anchor + self.head(torch.cat([state, context], 1)).squeeze(1))
            fed = torch.where(torch.rand_like(true) < teacher, true, values[-1])
        return Decoded(torch.stack(values), torch.stack(all_weights) if all_weights else None)
