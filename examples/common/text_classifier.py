"""A classifier of texts: vectors of characters, a bidirectional LSTM, attention, a linear layer."""

from collections.abc import Callable, Sequence
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from .attention import AdditiveAttention
from .text import PADDING, Padded, Vocabulary, crop, forget, pack

VECTOR, HIDDEN = 48, 64
DROPOUT, CROPPED, FORGOTTEN = 0.3, 0.5, 0.02
BATCH, LEARNING_RATE, GRADIENT_NORM = 32, 1.5e-2, 1.0


class Classifier(nn.Module):
    """Scores of classes from texts, packed or padded.

    `library` is the package that has the layer `LSTM`: `fused_rnn` or `torch.nn`.
    """

    def __init__(self, library: ModuleType, characters: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, VECTOR, padding_idx=PADDING)
        self.lstm = library.LSTM(VECTOR, HIDDEN, bidirectional=True)
        self.attention = AdditiveAttention(2 * HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(2 * HIDDEN, classes)

    def forward(self, batch: PackedSequence | Padded) -> tuple[Tensor, Tensor]:
        """Scores [batch, classes] and attention weights [steps, batch]."""
        states, lengths = self.states(batch)
        context, weights = self.attention(states, lengths)
        return self.head(self.dropout(context)), weights

    def states(self, batch: PackedSequence | Padded) -> tuple[Tensor, Tensor]:
        """The LSTM's states [steps, batch, 2 * hidden], and the lengths [batch]."""
        if isinstance(batch, Padded):
            return self.lstm(self._vectors(batch.indices))[0], batch.lengths
        packed = batch._replace(data=self._vectors(batch.data))
        return pad_packed_sequence(self.lstm(packed)[0])

    def _vectors(self, indices: Tensor) -> Tensor:
        vectors: Tensor = self.embedding(indices)
        return vectors


def train(
    model: Classifier,
    vocabulary: Vocabulary,
    texts: Sequence[str],
    classes: Tensor,
    epochs: int,
    seed: int,
    progress: Callable[[float], None],
) -> None:
    """Trains on texts and their classes [count]; `progress` gets the mean loss of each epoch.

    A text comes whole or cut to some of its words, so that the network seldom sees the same one
    twice, and a few characters are made unknown, so that the vector of the unknown learns too.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    steps = epochs * -(-len(texts) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    model.train()
    for _ in range(epochs):
        losses = []
        for some in torch.randperm(len(texts), generator=generator).split(BATCH):
            batch = [_altered(texts[i], vocabulary, generator) for i in some.tolist()]
            loss = cross_entropy(model(pack(batch))[0], classes[some])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        progress(sum(losses) / len(losses))
    model.eval()


def probabilities(model: Classifier, sequences: Sequence[Tensor]) -> Tensor:
    """Of each class [count, classes], for encoded texts."""
    with torch.no_grad():
        parts = [
            model(pack(sequences[first : first + 256]))[0].softmax(1)
            for first in range(0, len(sequences), 256)
        ]
    return torch.cat(parts)


def _altered(text: str, vocabulary: Vocabulary, generator: torch.Generator) -> Tensor:
    if torch.rand((), generator=generator) < CROPPED:
        text = crop(text, generator)
    return forget(vocabulary.encode(text), FORGOTTEN, generator)
