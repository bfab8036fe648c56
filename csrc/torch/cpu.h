// The border of the CPU kernels: tensors to the pointers of cpu/kernels.h and back. float16 and
// bfloat16 are converted here and computed in float32, but for products of pairs of bfloat16.
#pragma once
#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>

#include "cpu/kernels.h"
#include "cpu/memory.h"
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

// A tensor's values, where a kernel takes elements T.
template <class T>
using Value = std::conditional_t<std::is_same_v<T, cpu::BFloat16Pair>, at::BFloat16, T>;

template <class T>
const T* input(const Tensor& tensor) {
  return tensor.defined() ? reinterpret_cast<const T*>(tensor.const_data_ptr<Value<T>>()) : nullptr;
}
template <class T>
T* result(const Tensor& tensor) {
  return tensor.defined() ? reinterpret_cast<T*>(tensor.mutable_data_ptr<Value<T>>()) : nullptr;
}

// Past the dispatcher, but with its fill where algorithms are to be deterministic.
inline Tensor empty(at::ScalarType dtype, c10::SymIntArrayRef shape) {
  const Tensor tensor = at::detail::empty_cpu(C10_AS_INTARRAYREF_SLOW(shape), dtype);
  if (C10_UNLIKELY(at::globalContext().deterministicAlgorithms() &&
                   at::globalContext().deterministicFillUninitializedMemory())) {
    tensor.fill_(std::numeric_limits<double>::quiet_NaN());
  }
  cpu::prefer_huge_pages(tensor.mutable_data_ptr(), tensor.nbytes());
  return tensor;
}
inline Tensor empty(const Tensor& like, c10::SymIntArrayRef shape) {
  return empty(like.scalar_type(), shape);
}

// Those that compute in T, and multiply what is stored as S.
template <class T, class S = T>
const auto& kernels() {
  if constexpr (std::is_same_v<S, cpu::BFloat16Pair>) {
    return cpu::kernels().bf16;
  } else if constexpr (std::is_same_v<T, double>) {
    return cpu::kernels().f64;
  } else {
    return cpu::kernels().f32;
  }
}

// Threads for so many multiplications: for few, a team costs more than it saves.
inline int team(double multiplications) {
  constexpr double kWorthATeam = 2e6;
  return multiplications < kWorthATeam || at::in_parallel_region() ? 1 : at::get_num_threads();
}

// Whether our product takes these arguments of a linear layer; all others, and all errors, are ATen's.
bool takes(const Tensor& input, const Tensor& weight, const MaybeTensor& bias);

}  // namespace fused_rnn
