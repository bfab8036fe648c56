"""Packed and padded batches side by side: whether they give the same, and what a step costs."""

import time
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import PackedSequence

import fused_rnn
from fused_rnn import functional

from .attention import mask_of
from .text import PADDING, Padded, pack, pad
from .text_classifier import Classifier

BATCH = 64


class Differences(NamedTuple):
    """Largest differences to the states of the packed batch, where there is a character."""

    careful: float  # a padded batch, each text turned by its own length
    careless: float  # a padded batch, given to the bidirectional layer as it is
    largest: float  # of the states themselves


def compare(model: Classifier, sequences: Sequence[Tensor]) -> Differences:
    """Packs and pads the same texts, and compares the LSTM's states."""
    padded = pad(sequences)
    with torch.no_grad():
        packed, lengths = model.states(pack(sequences))
        careless, _ = model.states(padded)
        careful = padded_states(model.lstm, model.embedding(padded.indices), lengths)
    real = mask_of(lengths, len(packed))
    return Differences(
        careful=(careful - packed)[real].abs().max().item(),
        careless=(careless - packed)[real].abs().max().item(),
        largest=packed.abs().max().item(),
    )


def padded_states(lstm: nn.RNNBase, x: Tensor, lengths: Tensor) -> Tensor:
    """The states of a bidirectional LSTM over a padded batch [steps, batch, features], as packing
    gives them where there is a character.

    The second direction gets each text turned by its own length, so that it meets the padding last.
    """
    zeros = x.new_zeros(x.size(1), lstm.hidden_size)
    forward, turned = (
        functional.layer(
            "lstm",
            input,
            zeros,
            zeros,
            **{
                name: getattr(lstm, f"{name}_l0{suffix}") for name in functional.Weights._fields[:4]
            },
        )[0]
        for input, suffix in ((x, ""), (turn(x, lengths), "_reverse"))
    )
    return torch.cat([forward, turn(turned, lengths)], -1)


def turn(x: Tensor, lengths: Tensor) -> Tensor:
    """The first `lengths` [batch] steps of [steps, batch, features] in reverse order."""
    steps = torch.arange(len(x)).unsqueeze(1)
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x[source, torch.arange(x.size(1))]


def careless_guesses(model: Classifier, sequences: Sequence[Tensor]) -> Tensor:
    """The classes [count] that the model gives for careless batches of 64 texts."""
    with torch.no_grad():
        scores = [model(pad(some))[0] for some in _batches(sequences)]
    return torch.cat(scores).argmax(1)


def filling(sequences: Sequence[Tensor]) -> Tensor:
    """Which cells of all padded batches of 64 texts are filling, [cells]."""
    return torch.cat([(pad(some).indices == PADDING).flatten() for some in _batches(sequences)])


def milliseconds(
    sequences: Sequence[Tensor], classes: Tensor, characters: int, batches: int
) -> dict[str, float]:
    """The median time of a training step on 64 texts, ours and torch.nn's, packed and padded.

    All four see the same batches, in turn.
    """
    libraries = {"ours": fused_rnn, "torch": nn}
    models = {n: Classifier(of, characters, int(classes.max()) + 1) for n, of in libraries.items()}
    times: dict[str, list[float]] = {}
    turns = zip(_batches(sequences), classes.split(BATCH), strict=True)
    for some, targets in islice(turns, batches):
        for form, data in (("packed", pack(some)), ("padded", pad(some))):
            for name, model in models.items():
                times.setdefault(f"{name}_{form}", []).append(_step(model, data, targets))
    return {name: 1000 * torch.tensor(seconds).median().item() for name, seconds in times.items()}


def _batches(sequences: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    return [sequences[first : first + BATCH] for first in range(0, len(sequences), BATCH)]


def _step(model: Classifier, data: PackedSequence | Padded, targets: Tensor) -> float:
    begin = time.perf_counter()
    cross_entropy(model(data)[0], targets).backward()
    seconds = time.perf_counter() - begin
    model.zero_grad()
    return seconds
