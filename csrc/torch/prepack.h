// Weights that were laid out for the CPU's forward kernel before they are used. The layout is kept with
// the tensor it was made of, and ends with it.
#pragma once
#include <ATen/core/Tensor.h>

namespace fused_rnn {

// Lays out weight_ih or weight_hh, [gates * hidden, features], of a cell on the CPU.
void prepack(const at::Tensor& weight, int64_t hidden);

// That layout for a cell with so many gates. Undefined where there is none, or where torch knows that
// the weight has changed since.
at::Tensor prepacked(const at::Tensor& weight, int gates);

}  // namespace fused_rnn
