"""Batching rules: what `torch.func.vmap` makes of a call of an op whose tensors hold many samples.

Where samples differ in data alone, one call does them all: they are folded into the batch, as its
faster index, [..., rows, features] of each into [..., rows * samples, features]. Ragged data are
then still sorted by length, with `samples` times the sequences at every step.

Where samples differ in weights (an ensemble), or each has gradients of weights of its own, the op
is called once a sample.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

Results = tuple[Tensor | None, ...]  # None where a cell has no such result, or nobody wants it

OPS = torch.ops.fused_rnn
WEIGHTS = {"weight_ih", "bias_ih", "weight_hh", "bias_hh", "weight_hr"}


def _rule(op: OpOverload) -> Callable[..., tuple[Results, tuple[int | None, ...]]]:
    """The op over samples, in the form that `torch.library.register_vmap` takes."""
    names = [argument.name for argument in op._schema.arguments]

    def rule(
        info: Any, in_dims: Sequence[Any], *arguments: Any
    ) -> tuple[Results, tuple[int | None, ...]]:
        samples = info.batch_size
        given = dict(zip(names, arguments, strict=False))  # without the defaults at the end
        dims = {n: d for n, d in zip(names, in_dims, strict=False) if isinstance(d, int)}
        if "batch_sizes" in dims:
            raise RuntimeError(
                "batch_sizes: expected one tensor for all samples of vmap (in_dims None), but got "
                f"one for each of {samples}"
            )
        if samples == 0:  # one sample of zeros is run, and dropped
            given |= {name: given[name].sum(dim, keepdim=True) for name, dim in dims.items()}
        run = _at_once if _foldable(given, dims) else _one_by_one
        results = tuple(
            result if result is None else result[:samples]
            for result in run(op, given, dims, max(samples, 1))
        )
        return results, tuple(None if result is None else 0 for result in results)

    return rule


def _foldable(given: dict[str, Any], dims: dict[str, int]) -> bool:
    """Whether all samples share the weights and their gradients, if any, and data have a batch:
    where one has not, the op of a sample says so."""
    if WEIGHTS & dims.keys() or any(given.get("output_mask", ())[1:]):
        return False
    return all(given[name].dim() - (name in dims) > 1 for name in _data(given))


def _data(given: dict[str, Any]) -> list[str]:
    """The names of the tensors that have a batch."""
    others = {*WEIGHTS, "batch_sizes"}
    return [name for name, a in given.items() if isinstance(a, Tensor) and name not in others]


def _at_once(
    op: OpOverload, given: dict[str, Any], dims: dict[str, int], samples: int
) -> list[Tensor | None]:
    folded = given | {n: _folded(given[n], dims.get(n), samples) for n in _data(given)}
    if given["batch_sizes"] is not None:
        folded["batch_sizes"] = given["batch_sizes"] * samples
    return [
        result if result is None else result.unflatten(-2, (-1, samples)).movedim(-2, 0)
        for result in op(*folded.values())
    ]


def _folded(tensor: Tensor, dim: int | None, samples: int) -> Tensor:
    """The samples that lie at `dim`, or so many copies, as rows."""
    if dim is None:
        return tensor.repeat_interleave(samples, -2)
    return tensor.movedim(dim, -2).flatten(-3, -2)


def _one_by_one(
    op: OpOverload, given: dict[str, Any], dims: dict[str, int], samples: int
) -> list[Tensor | None]:
    each = [
        op(*(a.select(dims[name], i) if name in dims else a for name, a in given.items()))
        for i in range(samples)
    ]
    return [None if of[0] is None else torch.stack(of) for of in zip(*each, strict=True)]


for _op in (OPS.recurrence.default, OPS.recurrence_train.default, OPS.recurrence_backward.default):
    torch.library.register_vmap(_op, _rule(_op))
