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

RecurrenceTrain train_outputs(const ForwardInputs& in) {
  const Sizes sizes = check(in);
  const auto options = in.xg.options().dtype(compute_dtype(in.xg.scalar_type()));
  Tensor c_n, cells, tape;
  if (sizes.cell.has_c) {
    c_n = empty_like(*in.c_0);
    cells = at::empty_symint(sizes.with(sizes.hidden), options);
  }
  if (sizes.cell.tape) tape = at::empty_symint(sizes.with(sizes.hidden * sizes.cell.tape), options);
  return {empty(in.xg, sizes.with(sizes.out)), empty_like(in.h_0), c_n, cells, tape};
}

RecurrenceTrain recurrence_train(const Tensor& xg, const Tensor& h_0, const MaybeTensor& c_0, const Tensor& weight_hh,
                                 const MaybeTensor& bias_hh, const MaybeTensor& weight_hr,
                                 const MaybeTensor& batch_sizes, std::string_view cell, bool reverse) {
  return train_outputs({xg, h_0, c_0, weight_hh, bias_hh, weight_hr, batch_sizes, cell, reverse});
}

Recurrence recurrence(const Tensor& xg, const Tensor& h_0, const MaybeTensor& c_0, const Tensor& weight_hh,
                      const MaybeTensor& bias_hh, const MaybeTensor& weight_hr, const MaybeTensor& batch_sizes,
                      std::string_view cell, bool reverse) {
  auto [output, h_n, c_n, cells, tape] =
      train_outputs({xg, h_0, c_0, weight_hh, bias_hh, weight_hr, batch_sizes, cell, reverse});
  return {output, h_n, c_n};
}

RecurrenceBackward recurrence_backward(const MaybeTensor& grad_output, const MaybeTensor& grad_h_n,
                                       const MaybeTensor& grad_c_n, const Tensor& output, const MaybeTensor& cells,
                                       const MaybeTensor& tape, const Tensor& h_0, const MaybeTensor& c_0,
                                       const Tensor& weight_hh, const MaybeTensor& weight_hr,
                                       const MaybeTensor& batch_sizes, std::string_view cell, bool reverse,
                                       std::array<bool, 3> output_mask) {
  const Sizes sizes = check(BackwardInputs{grad_output, grad_h_n, grad_c_n, output, cells, tape, h_0, c_0, weight_hh,
                                           weight_hr, batch_sizes, cell, reverse, output_mask});
  const c10::SymInt gates = weight_hh.sym_size(0);
  return {empty(output, sizes.with(gates)),
          empty_like(h_0),
          sizes.cell.has_c ? empty_like(*c_0) : Tensor(),
          output_mask[0] ? empty_like(weight_hh) : Tensor(),
          output_mask[1] ? empty(output, {gates}) : Tensor(),
          output_mask[2] && defined(weight_hr) ? empty_like(*weight_hr) : Tensor()};
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Meta, m) {
  m.impl("recurrence", recurrence);
  m.impl("recurrence_train", recurrence_train);
  m.impl("recurrence_backward", recurrence_backward);
}

}  // namespace fused_rnn
