#include "torch/prepack.h"

#include <array>
#include <cstring>
#include <optional>

#include "torch/check.h"
#include "torch/cpu.h"

namespace fused_rnn {
namespace {

// What panels were made of: the same memory, with nothing written to it since. Torch does not count
// what is written past it, by `.data` or an array of NumPy's; samples show an update of all values.
class Origin {
 public:
  explicit Origin(const Tensor& weight)
      : storage_(weight.storage().getWeakStorageImpl()),
        data_(weight.const_data_ptr()),
        dtype_(weight.scalar_type()),
        sizes_(weight.sizes()),
        strides_(weight.strides()),
        version_(version(weight)),
        samples_(samples(weight)) {}

  // Torch counts changes, and numel() elements are all there are, for samples.
  static bool is_tracked(const Tensor& weight) {
    return !weight.is_inference() && weight.is_non_overlapping_and_dense();
  }

  bool is(const Tensor& weight) const {
    // The weak pointer holds the address: no other storage can have it.
    return is_tracked(weight) && weight.has_storage() &&
           weight.storage().unsafeGetStorageImpl() == storage_._unsafe_get_target() &&
           weight.const_data_ptr() == data_ && weight.scalar_type() == dtype_ &&
           weight.sizes() == sizes_ && weight.strides() == strides_ &&
           version(weight) == version_ && samples(weight) == samples_;
  }

 private:
  using Samples = std::array<uint64_t, 4>;

  static uint32_t version(const Tensor& weight) {
    return weight.unsafeGetTensorImpl()->version_counter().current_version();
  }

  static Samples samples(const Tensor& weight) {
    Samples bits{};
    const size_t size = weight.element_size(), count = weight.numel();
    const char* data = static_cast<const char*>(weight.const_data_ptr());
    for (size_t i = 0; count && i < bits.size(); ++i) {
      std::memcpy(&bits[i], data + count * (2 * i + 1) / (2 * bits.size()) * size, size);
    }
    return bits;
  }

  c10::weak_intrusive_ptr<c10::StorageImpl> storage_;
  const void* data_;
  at::ScalarType dtype_;
  at::DimVector sizes_, strides_;
  uint32_t version_;
  Samples samples_;
};

struct PackedWeight : c10::BackendMeta {
  PackedWeight(Origin origin, int gates, Tensor panels)
      : origin(std::move(origin)), gates(gates), panels(std::move(panels)) {}

  // A shallow copy has none: its changes may be counted elsewhere.
  c10::intrusive_ptr<BackendMeta> clone(const c10::intrusive_ptr<BackendMeta>&) const override {
    return nullptr;
  }

  const Origin origin;
  const int gates;
  const cpu::Isa isa = cpu::current_isa();
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

bool prepack(const Tensor& weight, int64_t hidden) {
  TORCH_CHECK(is_dense(weight, 2) && hidden > 0 && weight.size(0) % hidden == 0,
              "weight: expected [gates * hidden, features] with hidden ", hidden,
              ", but got shape ", weight.sizes());
  const int64_t gates = weight.size(0) / hidden;
  const auto cell = cell_with(gates);
  TORCH_CHECK(cell, "weight: expected the gates of a cell, but got ", gates);
  const auto dtype = weight.scalar_type();
  if (!weight.is_cpu() || dtype != compute_dtype(dtype) || !Origin::is_tracked(weight))
    return false;
  const Tensor values = dense(weight.detach(), dtype);
  const Tensor panels = dtype == at::kDouble ? pack<double>(values, *cell, hidden)
                                             : pack<float>(values, *cell, hidden);
  weight.unsafeGetTensorImpl()->set_backend_meta(
      c10::make_intrusive<PackedWeight>(Origin(weight), static_cast<int>(gates), panels));
  return true;
}

Tensor prepacked(const Tensor& weight, int gates) {
  const auto* packed =
      dynamic_cast<PackedWeight*>(weight.unsafeGetTensorImpl()->get_backend_meta());
  const bool usable = packed && packed->gates == gates && packed->isa == cpu::current_isa() &&
                      packed->origin.is(weight);
  return usable ? packed->panels : Tensor();
}

}  // namespace fused_rnn
