"""What a module goes through in its life: copies, files, dtypes, hooks, repeated backward."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import fused_rnn
from cases import Case, each_cell
from compare import assert_same, run_module


@each_cell
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save", "state_dict"])
def test_copies(cell: str, way: str, tmp_path: Path) -> None:
    case = Case(cell, num_layers=2, bidirectional=True)
    module = case.module(fused_rnn)
    if way == "deepcopy":
        other = copy.deepcopy(module)
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(module))
    elif way == "torch.save":
        torch.save(module, tmp_path / "module.pt")
        other = torch.load(tmp_path / "module.pt", weights_only=False)
    else:
        torch.save(module.state_dict(), tmp_path / "weights.pt")
        other = case.module(fused_rnn)
        other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert type(other) is type(module)
    assert other.weight_hh_l0 is not module.weight_hh_l0
    assert_same(run_module(other, case.input()), run_module(module, case.input()))
    with torch.no_grad():
        other.weight_hh_l0.add_(1)  # a copy reads its own weights
    assert not torch.equal(other(case.input())[0], module(case.input())[0])


@each_cell
def test_conversion_of_dtype(cell: str) -> None:
    case = Case(cell)
    module = case.module(fused_rnn)
    module.float()
    assert module(case.input().float())[0].dtype == torch.float32
    module.to(torch.bfloat16)
    assert module(case.input().bfloat16())[0].dtype == torch.bfloat16


@each_cell
def test_share_memory(cell: str) -> None:
    module = Case(cell).module(fused_rnn)
    expected = module(Case(cell).input())[0]
    module.share_memory()
    assert all(p.is_shared() for p in module.parameters())
    torch.testing.assert_close(module(Case(cell).input())[0], expected)


@each_cell
def test_hooks(cell: str) -> None:
    module = Case(cell).module(fused_rnn)
    seen = []
    module.register_forward_pre_hook(lambda *_: seen.append("before"))
    module.register_forward_hook(lambda *_: seen.append("after"))
    module.register_full_backward_hook(lambda *_: seen.append("backward"))
    module.register_state_dict_pre_hook(lambda *_: seen.append("state_dict"))
    module.register_load_state_dict_post_hook(lambda *_: seen.append("loaded"))
    module(Case(cell).input().requires_grad_())[0].sum().backward()
    module.load_state_dict(module.state_dict())
    assert seen == ["before", "after", "backward", "state_dict", "loaded"]


@each_cell
def test_backward_in_eval_and_twice(cell: str) -> None:
    module = Case(cell, num_layers=2).module(fused_rnn, dropout=0.5).eval()
    loss = module(Case(cell).input())[0].sum()
    loss.backward(retain_graph=True)
    once = {name: p.grad.clone() for name, p in module.named_parameters()}
    loss.backward()
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * once[name])
    torch.testing.assert_close(module(Case(cell).input())[0].sum(), loss)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_interface_of_rnn_base(name: str) -> None:
    module = getattr(fused_rnn, name)(3, 4, num_layers=2, bidirectional=True)
    assert [len(weights) for weights in module.all_weights] == [4, 4, 4, 4]
    module.flatten_parameters()
    torch.manual_seed(5)
    module.reset_parameters()
    theirs = getattr(nn, name)(3, 4, num_layers=2, bidirectional=True)
    torch.manual_seed(5)
    theirs.reset_parameters()
    torch.testing.assert_close(module.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@each_cell
def test_editing_the_output_in_place_is_refused(cell: str) -> None:
    """Backward needs the output; autograd's version counter sees the edit, as for nn.LSTM."""
    case = Case(cell)
    output, _ = case.module(fused_rnn)(case.input().requires_grad_())
    output.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@each_cell
def test_editing_the_input_in_place_is_refused(cell: str) -> None:
    """Also where its weights are frozen: the second derivative would read it."""
    case = Case(cell)
    module, x = case.module(fused_rnn), case.input()
    module.requires_grad_(False).bias_hh_l0.requires_grad_(True)
    output = module(x)[0]
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
