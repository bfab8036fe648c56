"""The chapter `gradients`: rates meet theory, clipping saves a training, gates see days."""

from pathlib import Path
from typing import Any

import pytest

import examples

examples.needs()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("gradients")
    return examples.run("gradients", folder)["numbers"]


def test_rates_meet_theory(numbers: Any) -> None:
    """Within 5%, but for the LSTM whose state leaves the rest that the theory is of."""
    rates = numbers["rates"]
    assert len(rates) == 11
    for key, rate in rates.items():
        if key != "lstm_5":
            assert rate["measured"] == pytest.approx(rate["theory"], rel=0.05), key


def test_vanishing_and_exploding(numbers: Any) -> None:
    rates = numbers["rates"]
    for radius in (0.5, 0.9, 1.0, 1.1, 1.5, 2.0):
        rate = rates[f"rnn_{radius:g}".replace(".", "_")]
        assert rate["measured"] < radius, "the bound of Pascanu et al."
        assert (rate["left"] < 0.1) == (radius <= 1) or radius == 1.1
    assert rates["rnn_2"]["left"] > 1000 > rates["rnn_1_5"]["left"] > 10


def test_gates_keep_the_gradient(numbers: Any) -> None:
    rates = numbers["rates"]
    for key in ("lstm_0", "lstm_1", "lstm_5", "gru_0", "gru_1"):
        assert rates[key]["measured"] > rates[key]["gate"], "the other paths add to the gate's"
    assert rates["lstm_0"]["left"] < 1e-8 and rates["lstm_1"]["left"] < 1e-2
    assert rates["lstm_5"]["left"] > 1


def test_clipping(numbers: Any) -> None:
    """With it the loss is that of a forecast; without it the training ends in infinity."""
    clipping = numbers["clipping"]
    assert clipping["steps_unclipped"] < clipping["steps"]
    assert clipping["last_loss_unclipped"] > 10 * clipping["loss"]
    assert clipping["loss"] < 2 * clipping["loss_of_naive"]
    assert clipping["largest_norm"] > 10 * clipping["limit"]


def test_gates_follow_the_day(numbers: Any) -> None:
    for swing in numbers["swing"].values():
        assert swing["trained"] > 2 * swing["untrained"]
    assert numbers["mae"]["lstm"] < numbers["mae"]["naive"]
