// Autocast: the recurrence runs in the dtype that the projection before it came out in.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "torch/ops.h"

namespace fused_rnn {
namespace {

template <at::DeviceType device, c10::DispatchKey key>
Recurrence recurrence(const Tensor& xg, const Tensor& h_0, const MaybeTensor& c_0, const Tensor& weight_hh,
                      const MaybeTensor& bias_hh, const MaybeTensor& weight_hr, const MaybeTensor& batch_sizes,
                      std::string_view cell, bool reverse) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(key);
  const auto dtype = at::autocast::get_autocast_dtype(device);
  const auto cast = [&](const Tensor& tensor) { return at::autocast::cached_cast(dtype, tensor, device); };
  const auto maybe = [&](const MaybeTensor& t) { return defined(t) ? MaybeTensor(cast(*t)) : std::nullopt; };
  return recurrence_op().call(cast(xg), cast(h_0), maybe(c_0), cast(weight_hh), maybe(bias_hh), maybe(weight_hr),
                              batch_sizes, cell, reverse);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, AutocastCPU, m) {
  m.impl("recurrence", recurrence<at::kCPU, c10::DispatchKey::AutocastCPU>);
}
TORCH_LIBRARY_IMPL(fused_rnn, AutocastCUDA, m) {
  m.impl("recurrence", recurrence<at::kCUDA, c10::DispatchKey::AutocastCUDA>);
}

}  // namespace fused_rnn
