// Ops as compositions of others: the linear layer of ATen's, for whatever our kernel is not made
// for and for every derivative, and a layer of its two ops.
#pragma once
#include "torch/ops.h"

namespace fused_rnn {

Tensor aten_linear(const LinearInputs& in);
LinearBackward::Outputs aten_linear_backward(const LinearBackwardInputs& in);

// A layer as two ops, of which the second is Op.
template <class Op>
typename Op::Outputs layer_of_two(const LayerInputs& in) {
  const Tensor xg = call<Linear>({in.input, in.weight_ih, in.bias_ih});
  return call<Op>({xg, in.h_0, in.c_0, in.weight_hh, in.bias_hh, in.weight_hr, in.batch_sizes,
                   in.cell, in.reverse});
}

}  // namespace fused_rnn
