#include "torch/outputs.h"

#include <ATen/ops/empty.h>

namespace fused_rnn {
namespace {

Tensor empty(const Tensor& like, c10::SymIntArrayRef shape) {
  return at::empty_symint(shape, like.options());
}
Tensor empty_like(const Tensor& like) { return at::empty_symint(like.sym_sizes(), like.options()); }

}  // namespace

RecurrenceTrain::Outputs new_outputs(const Sizes& sizes, const Tensor& like, const Tensor& h_0,
                                     const MaybeTensor& c_0, bool train) {
  const auto options = like.options().dtype(compute_dtype(like.scalar_type()));
  Tensor c_n, cells, tape;
  if (sizes.cell.has_c) c_n = empty_like(*c_0);
  if (train && sizes.cell.has_c) cells = at::empty_symint(sizes.with(sizes.hidden), options);
  if (train && sizes.cell.tape) {
    tape = at::empty_symint(sizes.with(sizes.hidden * sizes.cell.tape), options);
  }
  return {empty(like, sizes.with(sizes.out)), empty_like(h_0), c_n, cells, tape};
}

RecurrenceBackward::Outputs new_gradients(const Sizes& sizes, const BackwardInputs& in) {
  const c10::SymInt gates = in.weight_hh.sym_size(0);
  const auto [h_0, weight_hh, bias_hh, weight_hr] = in.output_mask;
  return {empty(in.output, sizes.with(gates)),
          h_0 ? empty_like(in.h_0) : Tensor(),
          sizes.cell.has_c ? empty_like(*in.c_0) : Tensor(),
          weight_hh ? empty_like(in.weight_hh) : Tensor(),
          bias_hh ? empty(in.output, {gates}) : Tensor(),
          weight_hr && defined(in.weight_hr) ? empty_like(*in.weight_hr) : Tensor()};
}

RecurrenceDoubleBackward::Outputs new_gradients(const Sizes& sizes,
                                                const DoubleBackwardInputs& in) {
  const auto like = [](const MaybeTensor& t) { return defined(t) ? empty_like(*t) : Tensor(); };
  const auto [h_0, weight_hh, bias_hh, weight_hr] = in.output_mask;
  return {empty(in.input, sizes.with(sizes.out)),
          like(in.h_0),
          like(in.c_0),
          empty(in.input, sizes.with(in.weight_hh.sym_size(0))),
          h_0 ? like(in.h_0) : Tensor(),
          like(in.c_0),
          weight_hh ? like(in.weight_hh) : Tensor(),
          bias_hh ? like(in.bias_hh) : Tensor(),
          weight_hr ? like(in.weight_hr) : Tensor()};
}

}  // namespace fused_rnn
