"""Text of any length: which of ten languages is it? Vectors, packing and attention.

The texts are messages of a program's user interface (examples/data/README.md), most of them a few
words long. A bidirectional LSTM reads their characters, and attention says which of them it
looked at. It is compared with a logistic regression over n-grams of characters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from tqdm import tqdm

import fused_rnn
from common import ragged, text_baselines, text_classifier
from common.report import HERE, Out, Quick, Row, Seed, save
from common.seeds import seed_everything
from common.text import Text, Vocabulary, pack, read_texts, split
from common.text_picture import Attended, picture

DATA = Path(__file__).parent / "data" / "django_messages.tsv"
FAMILIES = dict(ca=0, es=0, gl=0, pt=0, cs=1, sk=1, da=2, nb=2, nn=2, sv=2)
NAMES = {
    "lstm": "LSTM with attention",
    "ngrams": "logistic regression, 1- to 4-grams",
    "mean": "mean of these two",
    "majority": "most frequent language",
}


def main(
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training part.")] = 25,
    longest: Annotated[int, typer.Option(min=41, help="Texts are cut after so many.")] = 80,
    seed: Seed = 0,
    quick: Quick = False,
    out: Out = HERE,
) -> None:
    """Train a network that names the language of a text, and show which characters it used."""
    seed_everything(seed)
    torch.set_num_threads(1)  # the sizes are small
    if quick:
        epochs, longest = min(epochs, 3), min(longest, 41)
    parts = split(read_texts(DATA, longest))
    languages = sorted({text.language for text in parts.train})
    vocabulary = Vocabulary(text.text for text in parts.train)
    targets = numbered(parts.train, languages)
    model = fitted(vocabulary, parts.train, targets, epochs, seed)

    sequences = [vocabulary.encode(text.text) for text in parts.test]
    truth = numbered(parts.test, languages)
    scores = {"lstm": text_classifier.probabilities(model, sequences)}
    scores |= text_baselines.probabilities(parts)
    scores["mean"] = (scores["lstm"] + scores["ngrams"]) / 2
    guesses = {name: scores[name].argmax(1) for name in NAMES}
    right = {name: guess == truth for name, guess in guesses.items()}

    order = torch.randperm(len(targets))
    mixed = [vocabulary.encode(parts.train[index].text) for index in order.tolist()]
    times = ragged.milliseconds(mixed, targets[order], len(vocabulary), batches=4 if quick else 25)
    careless = ragged.careless_guesses(model, sequences)
    numbers = {
        "accuracy": {name: percent(correct) for name, correct in right.items()},
        "standard_error": 100 * (right["lstm"].float().std() / len(truth) ** 0.5).item(),
        "count": {name: len(part) for name, part in parts._asdict().items()},
        "messages": len({text.message for part in parts for text in part}),
        "characters": len(vocabulary),
        "sisters": percent(sisters(guesses["lstm"], truth, languages)[~right["lstm"]]),
        "states": ragged.compare(model, sequences[:64])._asdict(),
        "changed": percent(careless != guesses["lstm"]),
        "milliseconds": times,
        "over_padded": times["ours_padded"] / times["ours_packed"],
        "over_torch": times["torch_packed"] / times["ours_packed"],
        "filling": percent(ragged.filling(mixed)),
    }
    settings = {"epochs": epochs, "longest": longest, "seed": seed, "quick": quick}
    rows: list[Row] = [
        {"model": title, "test accuracy, %": percent(right[name])} for name, title in NAMES.items()
    ]
    shown = attended(model, vocabulary, parts.test, guesses["lstm"], languages)
    drawn = [text.text for text in parts.test if len(text.text) <= 24][:6]
    compared = {NAMES[name]: right[name] for name in ("lstm", "ngrams")}
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    figure = picture(drawn, vocabulary, compared, lengths, shown)
    save("text", out, figure, rows, numbers, settings)


def fitted(
    vocabulary: Vocabulary, texts: Sequence[Text], targets: Tensor, epochs: int, seed: int
) -> text_classifier.Classifier:
    """The classifier, trained on texts and the numbers of their languages [count]."""
    model = text_classifier.Classifier(fused_rnn, len(vocabulary), int(targets.max()) + 1)
    with tqdm(total=epochs, unit="epoch", disable=None) as bar:

        def progress(loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            bar.update()

        plain = [text.text for text in texts]
        text_classifier.train(model, vocabulary, plain, targets, epochs, seed, progress)
    return model


def numbered(texts: Sequence[Text], languages: Sequence[str]) -> Tensor:
    """The place of each text's language, [count]."""
    return torch.tensor([languages.index(text.language) for text in texts])


def percent(true: Tensor) -> float:
    """How much of [count] is true."""
    return 100 * true.float().mean().item()


def sisters(guesses: Tensor, truth: Tensor, languages: Sequence[str]) -> Tensor:
    """Whether the guessed language and the true one are of one family, [count]."""
    family = torch.tensor([FAMILIES[language] for language in languages])
    return family[guesses] == family[truth]


def attended(
    model: text_classifier.Classifier,
    vocabulary: Vocabulary,
    texts: Sequence[Text],
    guesses: Tensor,
    languages: Sequence[str],
) -> list[Attended]:
    """Of each language, the first text of 20 to 44 characters and the first that is guessed wrong,
    with the weight of every character."""
    found: dict[tuple[str, bool], Attended] = {}
    for text, guess in zip(texts, guesses.tolist(), strict=True):
        key = text.language, languages[guess] == text.language
        if 20 <= len(text.text) <= 44 and key not in found:
            with torch.no_grad():
                _, weights = model(pack([vocabulary.encode(text.text)]))
            weight = weights.flatten().tolist()
            found[key] = Attended(text.text, weight, text.language, languages[guess])
    return [found[key] for key in sorted(found)]


if __name__ == "__main__":
    typer.run(main)
