"""The README's Python runs as it stands, block after block."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings(
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning"  # in torch.onnx.export
)
def test_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    opening, *others = blocks  # the first is a line out of context
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    def run(block: str) -> None:
        exec(compile(block, README.name, "exec"), names)

    assert len(others) == 3 and opening.startswith("fused_rnn.convert(model)")
    run(others[0])
    assert type(names["model"][0]) is torch.nn.LSTM
    run(others[1])
    reason = "the last block needs the extra [onnx]; those before it ran"
    pytest.importorskip("onnxscript", reason=reason)
    onnx = pytest.importorskip("onnx", reason=reason)
    run(others[2])
    graph = onnx.load("model.onnx").graph
    assert [node.op_type for node in graph.node].count("LSTM") == 2
    steps, batch, _ = graph.input[0].type.tensor_type.shape.dim
    assert (steps.dim_param, batch.dim_param) == ("steps", "batch")
