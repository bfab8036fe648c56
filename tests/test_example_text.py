"""examples/text.py: the languages are learned, and packed and padded batches mean the same."""

from pathlib import Path

import pytest
import torch

import examples

pytestmark = pytest.mark.slow
examples.needs("sklearn")


@pytest.fixture(autouse=True)
def _examples_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(examples.FOLDER))


def test_it_names_the_language(tmp_path: Path) -> None:
    result = examples.run("text", tmp_path)
    numbers = result["numbers"]
    accuracy = numbers["accuracy"]
    assert accuracy["lstm"] > 4 * accuracy["majority"]  # after three epochs
    assert accuracy["ngrams"] > 80
    assert numbers["sisters"] > 60  # of its errors: far more than chance, a quarter
    states = numbers["states"]
    assert states["careful"] < 1e-5 < 0.1 < states["careless"]
    assert numbers["changed"] > 1
    assert numbers["over_torch"] > 1


def test_no_part_has_what_another_has() -> None:
    from common.text import read_texts, split

    texts = read_texts(examples.FOLDER / "data" / "django_messages.tsv", 1000)
    parts = split(texts)
    assert sorted(text for part in parts for text in part) == sorted(texts)
    for of in (lambda text: text.message, lambda text: text.text.lower()):
        sets = [{of(text) for text in part} for part in parts]
        assert sum(map(len, sets)) == len(set.union(*sets))
    assert all({text.language for text in part} == set(LANGUAGES) for part in parts)


LANGUAGES = "ca cs da es gl nb nn pt sk sv".split()


def test_vocabulary_knows_padding_and_the_unknown() -> None:
    from common.text import PADDING, UNKNOWN, Vocabulary, pad

    vocabulary = Vocabulary(["Abc", "b"])
    assert len(vocabulary) == 5
    assert vocabulary.encode("bØA").tolist() == [3, UNKNOWN, 2]
    padded = pad([vocabulary.encode("cab"), vocabulary.encode("b")])
    assert padded.indices.T.tolist() == [[4, 2, 3], [3, PADDING, PADDING]]
    assert vocabulary.decode(padded.indices[:, 1]) == "b"


@pytest.mark.parametrize("library", ["fused_rnn", "torch.nn"])
def test_filling_changes_nothing_where_the_layer_is_told(library: str) -> None:
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from common.attention import AdditiveAttention
    from common.ragged import padded_states

    module = pytest.importorskip(library)
    lengths = torch.tensor([3, 9, 1, 5])
    x = torch.randn(9, 4, 6, dtype=torch.float64)
    lstm = module.LSTM(6, 5, bidirectional=True, dtype=torch.float64)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    expected, _ = pad_packed_sequence(lstm(packed)[0])
    states = padded_states(lstm, x, lengths)
    real = torch.arange(9).unsqueeze(1) < lengths
    torch.testing.assert_close(states[real], expected[real])

    attention = AdditiveAttention(10, 4).double()
    context, weights = attention(states, lengths)
    assert torch.equal(weights == 0, ~real)
    torch.testing.assert_close(weights.sum(0), torch.ones_like(weights[0]))
    for column, length in enumerate(lengths.tolist()):  # each alone gives the same
        alone, _ = attention(expected[:length, [column]], lengths[[column]])
        torch.testing.assert_close(alone[0], context[column])
