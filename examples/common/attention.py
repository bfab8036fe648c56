"""Additive attention: one vector from a sequence of them, and how much each step gave to it."""

import torch
from torch import Tensor, nn


def mask_of(lengths: Tensor, steps: int) -> Tensor:
    """[steps, batch]: whether a sequence of that length has the step."""
    return torch.arange(steps).unsqueeze(1) < lengths


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the steps, of [steps, batch]; exactly 0 where the mask is false."""
    return scores.masked_fill(~mask, -torch.inf).softmax(0)


class AdditiveAttention(nn.Module):
    """Attention of Bahdanau et al. (2014), section 3.1, with one learned query.

    There the query is the decoder's state, another at every word. A classifier asks one question
    only, so that the query is a constant, the bias of `key`.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.key = nn.Linear(features, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The context [batch, features] and the weights [steps, batch] of the states
        [steps, batch, features]."""
        scores = self.score(torch.tanh(self.key(states))).squeeze(-1)
        weights = masked_softmax(scores, mask_of(lengths, len(states)))
        return torch.einsum("sb,sbf->bf", weights, states), weights
