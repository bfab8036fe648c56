// The element types of the CUDA kernels, and pointers to arrays of them, for host and device.
#pragma once
#include <cstdint>
#include <type_traits>

#include "cells/dual.h"

namespace fused_rnn::cuda {

struct F16 {
  uint16_t bits;
};
struct Bf16 {
  uint16_t bits;
};

// What is computed in.
template <class S>
using Compute = std::conditional_t<std::is_same_v<std::remove_const_t<S>, double>, double, float>;

// An array of S in memory, whose numbers are values V in a kernel: Compute<S>, or its dual. It may
// be null, for what is not there or not wanted.
template <class S, class V>
struct Array {
  S* value;

  FR_FN explicit operator bool() const { return value != nullptr; }
};
template <class S, class T>
struct Array<S, Dual<T>> {
  S *value, *tangent;

  FR_FN explicit operator bool() const { return value != nullptr; }
};

template <class S, class T>
FR_FN Array<const S, T> constant(Array<S, T> array) {
  return {array.value};
}
template <class S, class T>
FR_FN Array<const S, Dual<T>> constant(Array<S, Dual<T>> array) {
  return {array.value, array.tangent};
}

}  // namespace fused_rnn::cuda
