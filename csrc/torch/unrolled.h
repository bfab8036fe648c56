// The recurrence unrolled into ATen's ops, step by step, with the cells' own formulas. It is slower than
// the kernels and has what they have not: derivatives of every order, forward and reverse.
#pragma once
#include "torch/ops.h"

namespace fused_rnn {

Recurrence::Outputs unrolled(const ForwardInputs& in);
RecurrenceTrain::Outputs unrolled_train(const ForwardInputs& in);
RecurrenceBackward::Outputs unrolled_backward(const BackwardInputs& in);

// Throws where recurrence_backward was not given what its output was made from.
void check_origin(const MaybeTensor& input);
// xg, made from that in a layer: what a derivative of recurrence_backward starts from.
Tensor xg_of(const MaybeTensor& input, const MaybeTensor& weight_ih, const MaybeTensor& bias_ih);

// Second derivatives are symmetric: the gradient of sum(along * gradient) is the tangent of forward and
// backward along `along`, the first for the incoming gradients, the other for the rest.
RecurrenceDoubleBackward::Outputs unrolled_double_backward(const DoubleBackwardInputs& in);

}  // namespace fused_rnn
