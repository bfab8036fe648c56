"""Text for a network: a table of texts, their split, a vocabulary of characters, and batches."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_sequence

PADDING, UNKNOWN = 0, 1


class Text(NamedTuple):
    """A text, its language, and the number of the message that it translates."""

    message: int
    language: str
    text: str


class Parts(NamedTuple):
    """Three parts without a common message."""

    train: list[Text]
    validation: list[Text]
    test: list[Text]


class Padded(NamedTuple):
    """Texts side by side, filled up with `PADDING` to the longest."""

    indices: Tensor  # [steps, batch]
    lengths: Tensor  # [batch]


def read_texts(path: Path, longest: int) -> list[Text]:
    """The rows of a tab-separated file: message, language, text, cut after `longest` characters."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Text(int(number), language, text[:longest]) for number, language, text in rows]


def split(texts: Sequence[Text], shares: tuple[float, float] = (0.7, 0.15)) -> Parts:
    """Splits by message, so that no part has a translation of what another part has.

    `shares` are those of training and validation. The split is the same in every run.
    """
    messages = sorted({text.message for text in texts})
    order = torch.randperm(len(messages), generator=torch.Generator().manual_seed(0)).tolist()
    place = {messages[index]: rank / len(messages) for rank, index in enumerate(order)}
    ends = (shares[0], shares[0] + shares[1], 1.0)
    parts = Parts([], [], [])
    for text in texts:
        part = next(i for i, end in enumerate(ends) if place[text.message] < end)
        parts[part].append(text)
    return parts


class Vocabulary:
    """Numbers for characters: 0 is padding, 1 any character that the training part has not.

    Capitals count as small letters.
    """

    def __init__(self, texts: Iterable[str], rarest: int = 1) -> None:
        counts = Counter(character for text in texts for character in text.lower())
        known = sorted(character for character, count in counts.items() if count >= rarest)
        self.characters = ["", "\ufffd", *known]
        self.index = {character: i for i, character in enumerate(known, start=2)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """The numbers of the characters, [length]."""
        return torch.tensor([self.index.get(character, UNKNOWN) for character in text.lower()])

    def decode(self, indices: Tensor) -> str:
        """The characters of the numbers [length], without padding."""
        return "".join(self.characters[i] for i in indices.tolist())


def pad(sequences: Sequence[Tensor]) -> Padded:
    """A rectangle [steps, batch] with the sequences [length] as columns."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return Padded(pad_sequence(list(sequences), padding_value=PADDING), lengths)


def pack(sequences: Sequence[Tensor]) -> PackedSequence:
    """The same without the filling: all first characters, then all second ones, and so on."""
    return pack_sequence(list(sequences), enforce_sorted=False)


def crop(text: str, generator: torch.Generator) -> str:
    """Some of a text's words that follow each other; each first and last word is as likely."""
    words = text.split()
    ends = torch.randint(len(words), (2,), generator=generator).tolist()
    return " ".join(words[min(ends) : max(ends) + 1])


def forget(indices: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The sequence [length] with a share of its characters made unknown."""
    return indices.masked_fill(torch.rand(len(indices), generator=generator) < share, UNKNOWN)
