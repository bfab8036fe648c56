#include "torch/compositions.h"

#include <ATen/ATen.h>
#include <torch/library.h>

namespace fused_rnn {

Tensor aten_linear(const LinearInputs& in) { return at::linear(in.input, in.weight, in.bias); }

LinearBackward::Outputs aten_linear_backward(const LinearBackwardInputs& in) {
  const Tensor grad = in.grad_output.reshape_symint({-1, in.grad_output.sym_size(-1)});
  const auto [input, weight, bias] = in.output_mask;
  return {input ? in.grad_output.matmul(in.weight) : Tensor(),
          weight ? grad.t().mm(in.input.reshape_symint({-1, in.input.sym_size(-1)})) : Tensor(),
          bias ? grad.sum(at::IntArrayRef({0})) : Tensor()};
}

TORCH_LIBRARY_IMPL(fused_rnn, Meta, m) {
  m.impl("linear", Kernel<Linear, aten_linear>::call);
  m.impl("linear_backward", Kernel<LinearBackward, aten_linear_backward>::call);
}

TORCH_LIBRARY_IMPL(fused_rnn, FuncTorchBatched, m) {
  m.impl("linear", Kernel<Linear, aten_linear>::call);
  m.impl("linear_backward", Kernel<LinearBackward, aten_linear_backward>::call);
  m.impl("layer", Kernel<Layer, layer_of_two>::call);
}

}  // namespace fused_rnn
