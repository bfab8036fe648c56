"""The example of gradients of each sample: what clipping does, and that they are the right ones."""

from pathlib import Path

import pytest

import examples

examples.needs("sklearn")

pytestmark = pytest.mark.slow


def test_it(tmp_path: Path) -> None:
    numbers = examples.run("per_sample_gradients", tmp_path)["numbers"]
    rmse, bias = numbers["rmse"], numbers["bias"]
    assert rmse["each"] < 0.85 * min(rmse["plain"], rmse["whole"])
    assert rmse["each"] < 1.05 * rmse["sound"]
    assert abs(bias["each"]) < 0.5 * min(bias["plain"], bias["whole"])
    assert rmse["noise"] < 0.9 * rmse["plain"]
    assert numbers["auc_of_norm"] > 0.99
    assert numbers["loop"]["difference"] < 1e-5
    outcomes = numbers["torch_nn"]
    assert outcomes.pop("lstm_32") == "yes"
    assert all("doesn't match the broadcast shape" in text for text in outcomes.values())
