// The linear layer as ATen's ops: whatever our kernel is not made for, and every derivative.
#pragma once
#include "torch/ops.h"

namespace fused_rnn {

Tensor aten_linear(const LinearInputs& in);
LinearBackward::Outputs aten_linear_backward(const LinearBackwardInputs& in);

}  // namespace fused_rnn
