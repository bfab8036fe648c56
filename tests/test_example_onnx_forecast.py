"""The example of ONNX: the same forecasts, by one standard operator a layer."""

from pathlib import Path

import pytest

import examples

examples.needs("onnx", "onnxscript", "onnxruntime")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it(cell: str, tmp_path: Path) -> None:
    numbers = examples.run("onnx_forecast", tmp_path, f"--cell={cell}")["numbers"]
    ours, theirs, naive = (numbers[key] for key in ("pytorch", "onnx", "naive"))
    assert theirs == pytest.approx(ours, rel=1e-5)
    assert theirs["rmse"] < naive["rmse"]
    assert max(numbers["difference"], *numbers["differences"].values()) < 1e-4  # °C
    assert numbers["operators"][cell.upper()] == numbers["recurrent"] == numbers["layers"] == 2
    assert numbers["domains"] == [""]


def test_another_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="'tcn' is none of lstm, gru and rnn"):
        examples.run("onnx_forecast", tmp_path, "--cell=tcn")
