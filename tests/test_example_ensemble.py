"""The example of an ensemble: better than its members and than the last value, and no surer."""

from pathlib import Path

import pytest

import examples

examples.needs()

pytestmark = pytest.mark.slow


def test_it(tmp_path: Path) -> None:
    numbers = examples.run("ensemble", tmp_path)["numbers"]
    ensemble, member, last = (numbers[key] for key in ("ensemble", "member", "last"))
    assert ensemble["rmse"] < last["rmse"]
    assert ensemble["nll"] < member["nll"] and ensemble["nll"] < last["nll"]
    assert 0.75 < ensemble["coverage"] < 0.97
    assert ensemble["rank_correlation"] > 0.1
    assert len(set(numbers["rmse_of_members"])) == 5
    assert numbers["loop"]["difference"] < 1e-5
    assert "Batching rule not implemented" in numbers["torch_nn"]
