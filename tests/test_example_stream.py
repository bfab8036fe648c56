"""examples/stream.py: the served numbers, what carrying the state is worth, and latency."""

from typing import Any

import pytest

import examples

examples.needs()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result: dict[str, Any] = examples.run("stream", tmp_path_factory.mktemp("stream"))["numbers"]
    return result


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_a_stream_gives_what_the_layer_and_torch_give(numbers: dict[str, Any], cell: str) -> None:
    assert numbers[cell]["difference"] < 1e-5
    assert numbers[cell]["difference_from_layer"] < 1e-5


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_our_cell_takes_less_time(numbers: dict[str, Any], cell: str) -> None:
    assert numbers[cell]["cell_speedup"] > 1.2
    for library in ("ours", "torch_nn"):
        times = numbers[cell][library]  # of the cells alone at another moment: not to be compared
        assert 0 < times["cell_p50"] and 0 < times["p50"] <= times["p95"] <= times["p99"]


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_the_stream_forecasts_better_than_the_baselines(numbers: dict[str, Any], cell: str) -> None:
    baselines = numbers["baselines"]["test"]
    assert numbers[cell]["ours"]["mae"] < 0.97 * min(baselines.values())


def test_a_state_carried_over_chunks_of_8_hours_knows_the_day(numbers: dict[str, Any]) -> None:
    validation, test = numbers["validation"], numbers["test"]
    assert validation["carried"]["chunk_8"] < 0.7 * validation["reset"]["chunk_8"]
    assert test["carried"]["chunk_8"] < 0.97 * test["reset"]["chunk_8"]
    assert validation["carried"]["chunk_8"] < 0.95 * validation["reset"]["chunk_64"]
    assert validation["carried"]["chunk_8"] < numbers["baselines"]["validation"]["naive"]
