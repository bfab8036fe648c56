"""A forecaster in ONNX Runtime: exported at any batch and any number of steps, same forecasts."""

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import onnx
import onnxruntime
import torch
import typer
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim
from tqdm import tqdm

import fused_rnn
import fused_rnn.onnx
from common import picture
from common.report import HERE, Out, Quick, Seed, save
from common.seeds import seed_everything
from common.temperature import Temperature
from fused_rnn.forecast import series
from fused_rnn.forecast.training import Forecaster, Trainer, Windows, train_in_turns

WINDOW, HORIZON, HIDDEN, LAYERS = 48, 6, 32, 2
RECURRENT = {"RNN", "LSTM", "GRU"}

Array = NDArray[np.floating[Any]]


def trained(data: Temperature, cell: str, epochs: int, seed: int) -> Forecaster:
    """A forecaster, trained as `python -m fused_rnn forecast` does."""
    model = Forecaster(fused_rnn, cell, HIDDEN, LAYERS, bidirectional=False)
    batches = Windows(data.values, WINDOW, HORIZON)
    trainer = Trainer(cell, model, batches, data.train, epochs, seed)
    with tqdm(total=epochs, desc="training", unit="epoch", disable=None) as bar:

        def progress(_: Trainer) -> None:
            bar.update()

        train_in_turns([trainer], data.validation, epochs, progress)
    return model


def exported(model: nn.Module, windows: Tensor) -> onnx.ModelProto:
    """The model in ONNX, [batch, steps] of any size to [batch]."""
    program = torch.onnx.export(
        model.eval(),
        (windows,),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},),
        custom_translation_table=fused_rnn.onnx.translation_table(),
    )
    assert program is not None
    onnx.checker.check_model(program.model_proto, full_check=True)
    return program.model_proto


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """The model, ready to run on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, windows: Tensor) -> Array:
    """What ONNX Runtime forecasts, [batch]."""
    (name,) = (value.name for value in session.get_inputs())
    (forecast,) = session.run(None, {name: windows.numpy()})
    found: Array = forecast
    return found


def compared(
    model: nn.Module, session: onnxruntime.InferenceSession, data: Temperature
) -> dict[str, float]:
    """The largest difference of a forecast, in °C, at batches and windows of other sizes."""
    differences = {}
    for batch, steps in ((1, 1), (1, WINDOW), (7, 24), (256, 2 * WINDOW)):
        windows = data.values.unfold(0, steps, 1)[:batch]
        with torch.no_grad():
            expected = model(windows).numpy()
        difference = np.abs(run(session, windows) - expected).max()
        differences[f"batch_{batch}_steps_{steps}"] = float(difference) * data.scale.deviation
    return differences


def draw(truth: Array, forecasts: Mapping[str, Array]) -> Figure:
    """The end of the test part with both forecasts, and the difference between them."""
    figure = picture.new_figure(11, 4)
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    theirs, ours = forecasts.values()
    left.plot(truth[-120:], color=picture.INK, label="observed")
    left.plot(theirs[-120:], color=picture.OURS, lw=3, alpha=0.5, label="PyTorch")
    left.plot(ours[-120:], "--", color=picture.COLOURS[1], label="ONNX Runtime")
    left.legend(frameon=False, fontsize=8)
    picture.tidy(left, f"Forecasts {HORIZON} hours ahead", "hour", "°C")
    right.hist((ours - theirs) * 1e6, bins=40, color=picture.INK)
    picture.tidy(right, "ONNX Runtime less PyTorch", "millionths of a °C", "forecasts")
    return figure


def main(
    cell: Annotated[str, typer.Option(help="lstm, gru or rnn.")] = "lstm",
    seed: Seed = 0,
    quick: Quick = False,
    out: Out = HERE,
) -> None:
    """Trains a forecaster, exports it, and forecasts the test part in PyTorch and ONNX Runtime."""
    if cell.upper() not in RECURRENT:
        raise typer.BadParameter(f"{cell!r} is none of lstm, gru and rnn", param_hint="--cell")
    seed_everything(seed)
    torch.set_num_threads(1)  # more gain little on so small a network
    data, epochs = Temperature(WINDOW, HORIZON), 2 if quick else 12
    model = trained(data, cell, epochs, seed)
    windows, targets = Windows(data.values, WINDOW, HORIZON).batch(data.test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, of its own code
        exchanged = exported(model, windows[:2])
    session = session_of(exchanged)
    restore = data.scale.restore
    with torch.no_grad():
        forecasts = {"PyTorch": restore(model(windows).numpy())}
    forecasts["ONNX Runtime"] = restore(run(session, windows))
    truth = restore(targets.numpy())
    naive = restore(windows[:, -1].numpy())
    errors = {
        name: series.errors(forecast, truth)
        for name, forecast in {**forecasts, "last value": naive}.items()
    }
    rows: list[dict[str, str | float]] = [
        {"forecast": name, "RMSE, °C": error.rmse, "MAE, °C": error.mae}
        for name, error in errors.items()
    ]
    operators = Counter(node.op_type for node in exchanged.graph.node)
    keys = ("pytorch", "onnx", "naive")
    numbers = {
        **{key: error._asdict() for key, error in zip(keys, errors.values(), strict=True)},
        "difference": float(np.abs(forecasts["PyTorch"] - forecasts["ONNX Runtime"]).max()),
        "differences": compared(model, session, data),
        "operators": dict(operators.most_common()),
        "recurrent": sum(operators[name] for name in RECURRENT),
        "nodes": operators.total(),
        "layers": LAYERS,
        "domains": sorted({node.domain for node in exchanged.graph.node}),
    }
    settings = {"cell": cell, "seed": seed, "quick": quick, "epochs": epochs}
    save("onnx_forecast", out, draw(truth, forecasts), rows, numbers, settings)


if __name__ == "__main__":
    typer.run(main)
