// Autocast: the recurrence runs in the dtype that the projection before it came out in.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "torch/ops.h"

namespace fused_rnn {
namespace {

template <at::DeviceType device, c10::DispatchKey key>
Recurrence::Outputs recurrence(const ForwardInputs& in) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(key);
  const auto dtype = at::autocast::get_autocast_dtype(device);
  const auto cast = [&](const Tensor& tensor) {
    return at::autocast::cached_cast(dtype, tensor, device);
  };
  const auto maybe_cast = [&](const MaybeTensor& tensor) {
    return defined(tensor) ? MaybeTensor(cast(*tensor)) : std::nullopt;
  };
  return call<Recurrence>({cast(in.xg), cast(in.h_0), maybe_cast(in.c_0), cast(in.weight_hh),
                           maybe_cast(in.bias_hh), maybe_cast(in.weight_hr), in.batch_sizes,
                           in.cell, in.reverse});
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, AutocastCPU, m) {
  m.impl("recurrence",
         Kernel<Recurrence, recurrence<at::kCPU, c10::DispatchKey::AutocastCPU>>::call);
}
TORCH_LIBRARY_IMPL(fused_rnn, AutocastCUDA, m) {
  m.impl("recurrence",
         Kernel<Recurrence, recurrence<at::kCUDA, c10::DispatchKey::AutocastCUDA>>::call);
}

}  // namespace fused_rnn
