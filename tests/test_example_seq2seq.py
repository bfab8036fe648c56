"""examples/seq2seq.py: forecasts of a day beat the naive ones, and teacher forcing alone shows."""

import sys

import pytest
import torch

import examples
import fused_rnn.functional

examples.needs("sklearn")

pytestmark = pytest.mark.slow


@pytest.fixture
def decoder(monkeypatch):
    """The module with the model."""
    monkeypatch.syspath_prepend(examples.FOLDER)
    from common import decoder

    yield decoder
    for name in [name for name in sys.modules if name.partition(".")[0] == "common"]:
        del sys.modules[name]


def a_batch():
    """A past of 9 steps, what is known of 5 more, and their values; 3 sequences."""
    torch.manual_seed(0)
    return torch.randn(9, 3, 3), torch.randn(5, 3, 2), torch.randn(5, 3)


def test_forecasts_of_a_day(tmp_path):
    numbers = examples.run("seq2seq", tmp_path)["numbers"]
    naive, seasonal, ridge = (numbers[name] for name in ("naive", "seasonal", "ridge"))
    assert naive["hours"][-1] == pytest.approx(seasonal["hours"][-1], rel=1e-12)

    for name in ("scheduled", "free", "attention", "changes"):
        ours = numbers[name]
        assert ours["rmse"] < 0.85 * seasonal["rmse"]
        assert ours["rmse"] < 0.98 * naive["rmse"]
        assert ours["rmse"] < 1.05 * ridge["rmse"]
        assert ours["hours"][0] < 0.3 * ours["hours"][-1]

    # Exposure bias: told the truth it errs little at every hour; alone it ends worse than the
    # model that was trained alone, though in the first hour it is no worse.
    teacher, told = numbers["teacher"]["hours"], numbers["told"]["teacher"]["hours"]
    assert told[0] == pytest.approx(teacher[0], rel=1e-6)
    assert told[-1] < 0.4 * teacher[-1]
    assert teacher[0] < 1.1 * numbers["free"]["hours"][0]
    assert teacher[-1] > 1.04 * numbers["free"]["hours"][-1]
    # The truth does not help the model that was trained alone, and a sum of changes needs no more.
    assert numbers["told"]["free"]["hours"][-1] > 2 * told[-1]
    assert numbers["changes"]["hours"][-1] < 0.97 * teacher[-1]
    assert 1 < numbers["attended_hours"] <= 48


@pytest.mark.parametrize("anchor", ["start", "previous"])
def test_with_a_teacher_the_cell_is_a_layer(decoder, anchor):
    past, known, truth = a_batch()
    model = decoder.Seq2Seq(2, 8, anchor=anchor)
    fed = torch.cat([past[-1:, :, 0], truth[:-1]])
    _, state = model.encoder(past)
    cell = {name.removesuffix("_l0"): weight for name, weight in model.cell.named_parameters()}
    inputs = torch.cat([fed.unsqueeze(2), known], 2)
    states, _, _ = fused_rnn.functional.layer("gru", inputs, state[0], **cell)
    expected = model.head(states).squeeze(2) + (past[-1, :, 0] if anchor == "start" else fed)
    torch.testing.assert_close(model(past, known, truth, 1.0).values, expected)


@pytest.mark.parametrize("score", [None, "general", "additive"])
def test_alone_it_does_not_see_the_truth(decoder, score):
    past, known, truth = a_batch()
    model = decoder.Seq2Seq(2, 8, score)
    alone = model(past, known, truth, 0.0)
    assert torch.equal(alone.values, model(past, known, truth + 1, 0.0).values)
    # Fed with its own forecasts as the truth, it forecasts the same.
    torch.testing.assert_close(model(past, known, alone.values, 1.0).values, alone.values)
    if score is not None:
        assert alone.weights.shape == (5, 3, 9)
        torch.testing.assert_close(alone.weights.sum(2), torch.ones(5, 3))


@pytest.mark.parametrize("score", ["general", "additive"])
def test_attention_is_the_formula(decoder, score):
    torch.manual_seed(0)
    state, memory = torch.randn(3, 8), torch.randn(3, 9, 8)
    attention = decoder.Attention(8, score)
    context, _ = attention(state, memory, attention.key(memory))
    for s, states, ours in zip(state, memory, context, strict=True):
        if score == "general":
            scores = [s @ attention.key.weight @ m for m in states]
        else:
            query = attention.query.weight @ s + attention.query.bias
            hidden = [torch.tanh(query + attention.key.weight @ m) for m in states]
            scores = [attention.energy.weight[0] @ h for h in hidden]
        weights = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        torch.testing.assert_close(ours, weights @ states)


def test_a_score_that_is_not_there(tmp_path):
    with pytest.raises(AssertionError, match="is not one of"):
        examples.run("seq2seq", tmp_path, "--score=cosine")
