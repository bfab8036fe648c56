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

RecurrenceTrain::Outputs recurrence_train(const ForwardInputs& in) {
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

Recurrence::Outputs recurrence(const ForwardInputs& in) {
  auto [output, h_n, c_n, cells, tape] = recurrence_train(in);
  return {output, h_n, c_n};
}

RecurrenceBackward::Outputs recurrence_backward(const BackwardInputs& in) {
  const Sizes sizes = check(in);
  const c10::SymInt gates = in.weight_hh.sym_size(0);
  const auto [weight_hh, bias_hh, weight_hr] = in.output_mask;
  return {empty(in.output, sizes.with(gates)),
          empty_like(in.h_0),
          sizes.cell.has_c ? empty_like(*in.c_0) : Tensor(),
          weight_hh ? empty_like(in.weight_hh) : Tensor(),
          bias_hh ? empty(in.output, {gates}) : Tensor(),
          weight_hr && defined(in.weight_hr) ? empty_like(*in.weight_hr) : Tensor()};
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Meta, m) {
  m.impl("recurrence", Kernel<Recurrence, recurrence>::call);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, recurrence_train>::call);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call);
}

}  // namespace fused_rnn
