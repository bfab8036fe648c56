"""The example of meta-learning: one step adapts what MAML trained, and little else."""

from pathlib import Path

import pytest

import examples

examples.needs()

pytestmark = pytest.mark.slow


def test_it(tmp_path: Path) -> None:
    numbers = examples.run("meta_learning", tmp_path)["numbers"]
    maml, first_order, plain = (numbers[key] for key in ("maml", "first_order", "all_tasks"))
    assert maml[1] < 0.6 * min(maml[0], first_order[1], plain[1])
    assert plain[1] > 0.8 * numbers["zero"]
    beside = numbers["torch_nn"]
    assert beside["difference"] < 1e-4 and beside["vmap_difference"] < 1e-5
    assert "Batching rule not implemented" in beside["their_vmap"]
