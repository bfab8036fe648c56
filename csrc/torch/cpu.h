// The border of the CPU kernels: tensors to the pointers of cpu/kernels.h and back. float16 and
// bfloat16 are converted here and computed in float32.
#pragma once
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "cpu/kernels.h"
#include "torch/compositions.h"

namespace fused_rnn {

// The tensor as a kernel takes it. A call of ATen that changes nothing still costs its dispatch.
inline Tensor dense(const Tensor& tensor, at::ScalarType dtype) {
  if (tensor.scalar_type() == dtype && tensor.is_contiguous()) return tensor;
  return tensor.to(dtype).contiguous();
}
inline Tensor dense(const MaybeTensor& tensor, at::ScalarType dtype) {
  return defined(tensor) ? dense(*tensor, dtype) : Tensor();
}

// A result as it is given away.
inline Tensor stored(const Tensor& tensor, at::ScalarType dtype) {
  return tensor.defined() && tensor.scalar_type() != dtype ? tensor.to(dtype) : tensor;
}

template <class T>
const T* input(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}
template <class T>
T* result(const Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<T>() : nullptr;
}

inline Tensor empty(const Tensor& like, c10::SymIntArrayRef shape) {
  return at::empty_symint(shape, like.options());
}

template <class T>
const cpu::Kernels<T>& kernels() {
  if constexpr (std::is_same_v<T, double>) {
    return cpu::kernels().f64;
  } else {
    return cpu::kernels().f32;
  }
}

// Threads for `shares` parts and so many multiplications: for few, a team costs more than it saves.
inline int team(int64_t shares, double multiplications) {
  constexpr double kWorthATeam = 200'000;
  if (multiplications < kWorthATeam || at::in_parallel_region()) return 1;
  return static_cast<int>(std::clamp<int64_t>(shares, 1, at::get_num_threads()));
}

// Whether our product is faster than ATen's for a linear layer with these arguments; they then fit.
bool is_ours(const Tensor& input, const Tensor& weight, const MaybeTensor& bias);

}  // namespace fused_rnn
