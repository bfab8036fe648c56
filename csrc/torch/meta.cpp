// Meta kernels: the shapes of what comes out, which may be symbols.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "torch/check.h"

namespace fused_rnn {
namespace {

Tensor empty(const Tensor& like, const std::vector<c10::SymInt>& shape) {
  return at::empty_symint(shape, like.options());
}
Tensor empty_like(const Tensor& like) { return at::empty_symint(like.sym_sizes(), like.options()); }

// like: a tensor of the dtype and device of all results.
RecurrenceTrain::Outputs train_outputs(const Sizes& sizes, const Tensor& like, const Tensor& h_0,
                                       const MaybeTensor& c_0) {
  const auto options = like.options().dtype(compute_dtype(like.scalar_type()));
  Tensor c_n, cells, tape;
  if (sizes.cell.has_c) {
    c_n = empty_like(*c_0);
    cells = at::empty_symint(sizes.with(sizes.hidden), options);
  }
  if (sizes.cell.tape) tape = at::empty_symint(sizes.with(sizes.hidden * sizes.cell.tape), options);
  return {empty(like, sizes.with(sizes.out)), empty_like(h_0), c_n, cells, tape};
}

RecurrenceTrain::Outputs recurrence_train(const ForwardInputs& in) {
  return train_outputs(check(in), in.xg, in.h_0, in.c_0);
}

LayerTrain::Outputs layer_train(const LayerInputs& in) {
  return train_outputs(check(in), in.input, in.h_0, in.c_0);
}

template <class Inputs, RecurrenceTrain::Outputs (*train)(const Inputs&)>
Recurrence::Outputs without_tape(const Inputs& in) {
  auto [output, h_n, c_n, cells, tape] = train(in);
  return {output, h_n, c_n};
}

RecurrenceBackward::Outputs recurrence_backward(const BackwardInputs& in) {
  const Sizes sizes = check(in);
  const c10::SymInt gates = in.weight_hh.sym_size(0);
  const auto [h_0, weight_hh, bias_hh, weight_hr] = in.output_mask;
  return {empty(in.output, sizes.with(gates)),
          h_0 ? empty_like(in.h_0) : Tensor(),
          sizes.cell.has_c ? empty_like(*in.c_0) : Tensor(),
          weight_hh ? empty_like(in.weight_hh) : Tensor(),
          bias_hh ? empty(in.output, {gates}) : Tensor(),
          weight_hr && defined(in.weight_hr) ? empty_like(*in.weight_hr) : Tensor()};
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Meta, m) {
  m.impl("layer", Kernel<Layer, without_tape<LayerInputs, layer_train>>::call);
  m.impl("layer_train", Kernel<LayerTrain, layer_train>::call);
  m.impl("recurrence", Kernel<Recurrence, without_tape<ForwardInputs, recurrence_train>>::call);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, recurrence_train>::call);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call);
}

}  // namespace fused_rnn
