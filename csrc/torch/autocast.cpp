// Autocast: the ops run in the dtype that autocast has chosen, as at::linear does.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "torch/ops.h"

namespace fused_rnn {
namespace {

// Casts to the dtype that autocast has chosen for the device.
template <at::DeviceType device>
struct Cast {
  const at::ScalarType dtype = at::autocast::get_autocast_dtype(device);

  Tensor operator()(const Tensor& tensor) const {
    return at::autocast::cached_cast(dtype, tensor, device);
  }
  MaybeTensor operator()(const MaybeTensor& tensor) const {
    return defined(tensor) ? MaybeTensor((*this)(*tensor)) : std::nullopt;
  }
};

template <at::DeviceType device, c10::DispatchKey key>
Recurrence::Outputs recurrence(const ForwardInputs& in) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(key);
  const Cast<device> cast;
  return call<Recurrence>({cast(in.xg), cast(in.h_0), cast(in.c_0), cast(in.weight_hh),
                           cast(in.bias_hh), cast(in.weight_hr), in.batch_sizes, in.cell,
                           in.reverse});
}

template <at::DeviceType device, c10::DispatchKey key>
Tensor linear(const LinearInputs& in) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(key);
  const Cast<device> cast;
  return call<Linear>({cast(in.input), cast(in.weight), cast(in.bias)});
}

template <at::DeviceType device, c10::DispatchKey key>
Layer::Outputs layer(const LayerInputs& in) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(key);
  const Cast<device> cast;
  return call<Layer>({cast(in.input), cast(in.weight_ih), cast(in.bias_ih), cast(in.h_0),
                      cast(in.c_0), cast(in.weight_hh), cast(in.bias_hh), cast(in.weight_hr),
                      in.batch_sizes, in.cell, in.reverse});
}

template <at::DeviceType device, c10::DispatchKey key>
void register_all(torch::Library& m) {
  m.impl("linear", Kernel<Linear, linear<device, key>>::call);
  m.impl("layer", Kernel<Layer, layer<device, key>>::call);
  m.impl("recurrence", Kernel<Recurrence, recurrence<device, key>>::call);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, AutocastCPU, m) {
  register_all<at::kCPU, c10::DispatchKey::AutocastCPU>(m);
}
TORCH_LIBRARY_IMPL(fused_rnn, AutocastCUDA, m) {
  register_all<at::kCUDA, c10::DispatchKey::AutocastCUDA>(m);
}

}  // namespace fused_rnn
