#include "torch/prepack.h"

#include <optional>

#include "torch/check.h"
#include "torch/cpu.h"

namespace fused_rnn {
namespace {

// What a layout was made of: the same memory, with nothing written to it since. Torch does not count
// what is written past it, such as through `.data` or an array of NumPy's.
class Origin {
 public:
  explicit Origin(const Tensor& weight)
      : storage_(weight.storage().getWeakStorageImpl()),
        data_(weight.const_data_ptr()),
        dtype_(weight.scalar_type()),
        sizes_(weight.sizes()),
        strides_(weight.strides()),
        version_(version(weight)) {}

  bool is(const Tensor& weight) const {
    // The weak pointer holds the address: no other storage can have it.
    return weight.has_storage() &&
           weight.storage().unsafeGetStorageImpl() == storage_._unsafe_get_target() &&
           weight.const_data_ptr() == data_ && weight.scalar_type() == dtype_ &&
           weight.sizes() == sizes_ && weight.strides() == strides_ && version(weight) == version_;
  }

 private:
  static uint32_t version(const Tensor& weight) {
    const auto& counter = weight.unsafeGetTensorImpl()->version_counter();
    return counter.enabled() ? counter.current_version() : 0;
  }

  c10::weak_intrusive_ptr<c10::StorageImpl> storage_;
  const void* data_;
  at::ScalarType dtype_;
  at::DimVector sizes_, strides_;
  uint32_t version_;
};

struct Layout : c10::BackendMeta {
  Layout(Origin origin, int gates, cpu::Isa isa, Tensor panels)
      : origin(std::move(origin)), gates(gates), isa(isa), panels(std::move(panels)) {}

  const Origin origin;
  const int gates;
  const cpu::Isa isa;
  const Tensor panels;
};

template <class T>
Tensor pack(const Tensor& weight, int cell, int64_t hidden) {
  const int64_t k = weight.size(1);
  const Tensor packed = empty(weight, {kernels<T>().packed_size(cell, hidden, k)});
  kernels<T>().pack(cell, hidden, k, input<T>(weight), result<T>(packed));
  return packed;
}

std::optional<int> cell_with(int64_t gates) {
  for (int row = 0; row < Cells::kSize; ++row) {
    if (Cells::kInfo[row].gates == gates) return row;
  }
  return std::nullopt;
}

}  // namespace

void prepack(const Tensor& weight, int64_t hidden) {
  TORCH_CHECK(weight.is_cpu() && is_dense(weight, 2) && weight.is_floating_point() && hidden > 0 &&
                  weight.size(0) % hidden == 0,
              "weight: expected [gates * hidden, features] on the CPU with hidden ", hidden,
              ", but got shape ", weight.sizes(), " on ", weight.device());
  const int64_t gates = weight.size(0) / hidden;
  const auto cell = cell_with(gates);
  TORCH_CHECK(cell, "weight: expected the gates of a cell, but got ", gates);
  const auto dtype = compute_dtype(weight.scalar_type());
  const Tensor values = dense(weight.detach(), dtype);
  weight.unsafeGetTensorImpl()->set_backend_meta(
      c10::make_intrusive<Layout>(Origin(weight), static_cast<int>(gates), cpu::current_isa(),
                                  dtype == at::kDouble ? pack<double>(values, *cell, hidden)
                                                       : pack<float>(values, *cell, hidden)));
}

Tensor prepacked(const Tensor& weight, int gates) {
  const auto* layout = dynamic_cast<Layout*>(weight.unsafeGetTensorImpl()->get_backend_meta());
  const bool usable = layout && layout->gates == gates && layout->isa == cpu::current_isa() &&
                      layout->origin.is(weight);
  return usable ? layout->panels : Tensor();
}

}  // namespace fused_rnn
