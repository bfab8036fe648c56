// Ops as compositions of others: the linear layer of ATen's, for whatever our kernel is not made
// for and for every derivative, and a layer of its two ops.
#pragma once
#include "torch/ops.h"

namespace fused_rnn {

Tensor aten_linear(const LinearInputs& in);
LinearBackward::Outputs aten_linear_backward(const LinearBackwardInputs& in);

// A layer as its two ops.
Layer::Outputs layer_of_two(const LayerInputs& in);

}  // namespace fused_rnn
