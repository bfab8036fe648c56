#include "torch/compositions.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include "torch/outputs.h"
#include "torch/unrolled.h"

namespace fused_rnn {

namespace {

// ATen's meta kernels do not ask for it.
void check_device(const char* name, const MaybeTensor& tensor, const Tensor& like) {
  TORCH_CHECK(!defined(tensor) || tensor->device() == like.device(), name, ": expected device ",
              like.device(), ", but got ", tensor->device());
}

// torch.jit.trace knows no optional results, which Train has not; it keeps a tape for it.
template <class Op, class Train>
typename Op::Outputs traced(const typename Op::Inputs& in) {
  return without_tape(call<Train>(in));
}

}  // namespace

Tensor aten_linear(const LinearInputs& in) {
  check_device("weight", in.weight, in.input);
  check_device("bias", in.bias, in.input);
  return at::linear(in.input, in.weight, in.bias);
}

LinearBackward::Outputs aten_linear_backward(const LinearBackwardInputs& in) {
  const auto [want_input, want_weight, want_bias] = in.output_mask;
  check_device("input", in.input, in.grad_output);
  check_device("weight", in.weight, in.grad_output);
  if (defined(in.input) && defined(in.weight)) {
    TORCH_CHECK(
        in.weight->dim() == 2 && in.input->dim() > 0 &&
            in.input->sym_size(-1).sym_eq(in.weight->sym_size(1)).expect_true(__FILE__, __LINE__),
        "weight: expected shape [out, in] for input of shape ", in.input->sym_sizes(), ", but got ",
        in.weight->sym_sizes());
  }
  TORCH_CHECK(!want_input || defined(in.weight),
              "weight: expected a tensor, since d_input is wanted, but got None");
  TORCH_CHECK(!want_weight || defined(in.input),
              "input: expected a tensor, since d_weight is wanted, but got None");
  const auto rows = [](const Tensor& t) { return t.dim() > 1 ? t.flatten(0, -2) : t.unsqueeze(0); };
  const Tensor grad = rows(in.grad_output);
  return {want_input ? in.grad_output.matmul(*in.weight) : Tensor(),
          want_weight ? grad.t().mm(rows(*in.input)) : Tensor(),
          want_bias ? grad.sum(at::IntArrayRef({0})) : Tensor()};
}

TORCH_LIBRARY_IMPL(fused_rnn, Meta, m) {
  m.impl("linear", Kernel<Linear, aten_linear>::call);
  m.impl("linear_backward", Kernel<LinearBackward, aten_linear_backward>::call);
}

TORCH_LIBRARY_IMPL(fused_rnn, Tracer, m) {
  m.impl("layer", Kernel<Layer, traced<Layer, LayerTrain>>::call);
  m.impl("recurrence", Kernel<Recurrence, traced<Recurrence, RecurrenceTrain>>::call);
}

TORCH_LIBRARY_IMPL(fused_rnn, FuncTorchBatched, m) {
  m.impl("linear", Kernel<Linear, aten_linear>::call);
  m.impl("linear_backward", Kernel<LinearBackward, aten_linear_backward>::call);
  m.impl("layer", Kernel<Layer, layer_of_two<Recurrence>>::call);
  m.impl("layer_train", Kernel<LayerTrain, layer_of_two<RecurrenceTrain>>::call);
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, unrolled_double_backward>::call);
}

}  // namespace fused_rnn
