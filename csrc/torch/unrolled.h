// The recurrence unrolled into ATen's ops, step by step, with the cells' own formulas. It is slower than
// the kernels and has what they have not: derivatives of every order, forward and reverse.
#pragma once
#include "torch/ops.h"

namespace fused_rnn {

Recurrence::Outputs unrolled(const ForwardInputs& in);
RecurrenceTrain::Outputs unrolled_train(const ForwardInputs& in);
RecurrenceBackward::Outputs unrolled_backward(const BackwardInputs& in);

// The gradients of sum(along * recurrence_backward(in)) by what is differentiable in `in`, in its order.
// That is the derivative of a gradient, and second derivatives are symmetric: it is the tangent of
// forward and backward along `along`, the first for the incoming gradients, the other for the rest.
std::vector<Tensor> unrolled_second(const BackwardInputs& in, const std::vector<Tensor>& along);

}  // namespace fused_rnn
