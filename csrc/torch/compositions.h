// Ops as compositions of others: the linear layer of ATen's, for whatever our kernel is not made
// for and for every derivative, and a layer of its two ops.
#pragma once
#include "torch/ops.h"

namespace fused_rnn {

Tensor aten_linear(const LinearInputs& in);
LinearBackward::Outputs aten_linear_backward(const LinearBackwardInputs& in);

// A layer as its two ops: Op is Layer or LayerTrain, Of the recurrence that it then is.
template <class Op, class Of>
typename Op::Outputs two_ops(const LayerInputs& in) {
  const Tensor xg = call<Linear>({in.input, in.weight_ih, in.bias_ih});
  return call<Of>({xg, in.h_0, in.c_0, in.weight_hh, in.bias_hh, in.weight_hr, in.batch_sizes,
                   in.cell, in.reverse});
}
inline Layer::Outputs layer_of_two(const LayerInputs& in) { return two_ops<Layer, Recurrence>(in); }

}  // namespace fused_rnn
