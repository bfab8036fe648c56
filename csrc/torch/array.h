// Values for the cells' formulas that are whole tensors: each operation is one of ATen's, so that what
// is computed has every derivative there. An undefined one is zero, of any shape, and costs nothing.
#pragma once
#include <ATen/ATen.h>

#include <vector>

#include "cells/dual.h"
#include "torch/ops.h"

namespace fused_rnn {

struct Array {
  Tensor tensor;

  bool defined() const { return tensor.defined(); }
};

template <>
struct ValueTraits<Array> {
  using Element = double;
};

inline Array operator+(const Array& a, const Array& b) {
  if (!a.defined()) return b;
  return b.defined() ? Array{a.tensor + b.tensor} : a;
}
inline Array operator-(const Array& a) { return a.defined() ? Array{-a.tensor} : a; }
inline Array operator-(const Array& a, const Array& b) {
  if (!b.defined()) return a;
  return a.defined() ? Array{a.tensor - b.tensor} : -b;
}
inline Array operator-(double a, const Array& b) { return {at::rsub(b.tensor, a)}; }
inline Array operator*(const Array& a, const Array& b) {
  return a.defined() && b.defined() ? Array{a.tensor * b.tensor} : Array{};
}

inline Array sigmoid(const Array& x) { return {at::sigmoid(x.tensor)}; }
inline Array tanh(const Array& x) { return {at::tanh(x.tensor)}; }
inline Array relu(const Array& x) { return {at::relu(x.tensor)}; }
inline Array relu_slope(const Array& y) { return {at::gt(y.tensor, 0).to(y.tensor.scalar_type())}; }

// A linear function of the tensor, and a bilinear one of two, for arrays and for duals of them.
template <class F>
Array map(const Array& a, F f) {
  return a.defined() ? Array{f(a.tensor)} : a;
}
template <class F>
Dual<Array> map(const Dual<Array>& a, F f) {
  return {map(a.value, f), map(a.tangent, f)};
}
template <class F>
Array map(const Array& a, const Array& b, F f) {
  return a.defined() && b.defined() ? Array{f(a.tensor, b.tensor)} : Array{};
}
template <class F>
Dual<Array> map(const Dual<Array>& a, const Dual<Array>& b, F f) {
  return {map(a.value, b.value, f), map(a.tangent, b.value, f) + map(a.value, b.tangent, f)};
}

// Arrays, and the size of each in the dimension that they are joined in.
template <class V>
using Parts = std::vector<std::pair<V, int64_t>>;

inline Array join(const Parts<Array>& parts, int64_t dim) {
  Tensor like;
  for (const auto& [array, size] : parts) {
    if (array.defined()) like = array.tensor;
  }
  if (!like.defined()) return {};
  std::vector<Tensor> tensors;
  for (const auto& [array, size] : parts) {
    std::vector<int64_t> shape = like.sizes().vec();
    shape[at::maybe_wrap_dim(dim, like.dim())] = size;
    if (size) tensors.push_back(array.defined() ? array.tensor : like.new_zeros(shape));
  }
  return {tensors.size() == 1 ? tensors[0] : tensors.empty() ? like : at::cat(tensors, dim)};
}
inline Dual<Array> join(const Parts<Dual<Array>>& parts, int64_t dim) {
  Parts<Array> values, tangents;
  for (const auto& [dual, size] : parts) {
    values.emplace_back(dual.value, size);
    tangents.emplace_back(dual.tangent, size);
  }
  return {join(values, dim), join(tangents, dim)};
}

}  // namespace fused_rnn
