// Vectors of T by the compiler's vector extension, and how to load, store, interleave and add them
// up. Files named -inl.h are compiled once an instruction set, in a namespace of its name.
#pragma once
#include "cells/table.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

constexpr int kVectorBytes = FUSED_RNN_VECTOR_BYTES;
constexpr bool kWide = kVectorBytes > 16;  // than what every x86-64 has
#if defined(__x86_64__)
constexpr int kRegisters = kVectorBytes == 64 ? 32 : 16;
#else
constexpr int kRegisters = 32;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
  typedef T unaligned __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename VectorOf<T>::type;
template <class T>
constexpr int kLanes = kVectorBytes / sizeof(T);
template <class T>
using AllLanes = std::integral_constant<int64_t, kLanes<T>>;

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA

#include "cpu/x86-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

FR_FN constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
FR_FN constexpr int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
FR_FN constexpr int64_t max(int64_t a, int64_t b) { return a < b ? b : a; }

// Calls f with 0 to N - 1, each as a constant.
template <int N, class F>
FR_FN void repeat(const F& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, i>{}), ...);
  }(std::make_integer_sequence<int, N>{});
}

template <class T>
FR_FN T* offset(T* p, int64_t n) {
  return p ? p + n : nullptr;
}

template <class T>
FR_FN Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(p);
}
template <class T>
FR_FN void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VectorOf<T>::unaligned*>(p) = v;
}
// The first n lanes, n >= 0; the others are zero, and not touched.
template <class T>
FR_FN Vec<T> load(const T* p, int64_t n) {
  if (n >= kLanes<T>) return load(p);
  if constexpr (kMasked) return masked_load(p, n);
  Vec<T> v = {};
  __builtin_memcpy(&v, p, n * sizeof(T));
  return v;
}
template <class T>
FR_FN void store(T* p, Vec<T> v, int64_t n) {
  if (n >= kLanes<T>) return store(p, v);
  if constexpr (kMasked) return masked_store(p, n, v);
  __builtin_memcpy(p, &v, n * sizeof(T));
}

constexpr int64_t kLineBytes = 64;  // of a cache

// Asks for the values at [p, p + n) to be brought to the L2 cache.
template <class T>
FR_FN void prefetch(const T* p, int64_t n) {
  constexpr int64_t kLine = kLineBytes / sizeof(T);
  for (int64_t i = 0; i < n; i += kLine) __builtin_prefetch(p + i, /*write=*/0, /*locality=*/2);
}

// n values, zeros where there is no `from`.
template <class T>
FR_FN void copy(T* to, std::type_identity_t<const T*> from, int64_t n) {
  from ? __builtin_memcpy(to, from, n * sizeof(T)) : __builtin_memset(to, 0, n * sizeof(T));
}

// Lane j of the result is lane j of a where bit `stride` of j is clear (kHigh: of b, where it is
// set), and otherwise the lane `stride` beside it in the other vector: 2x2 blocks change places.
template <int stride, bool kHigh>
constexpr int interleaved_lane(int j, int lanes) {
  return (j & stride) ? lanes + j - (kHigh ? 0 : stride) : j + (kHigh ? stride : 0);
}
template <int stride, bool kHigh, class T, int... J>
FR_FN Vec<T> interleave(Vec<T> a, Vec<T> b, std::integer_sequence<int, J...>) {
#ifdef __clang__
  return __builtin_shufflevector(a, b, interleaved_lane<stride, kHigh>(J, kLanes<T>)...);
#else
  using Bits = typename ValueTraits<Vec<T>>::Bits;
  return __builtin_shuffle(a, b, Bits{interleaved_lane<stride, kHigh>(J, kLanes<T>)...});
#endif
}
template <int stride, bool kHigh, class T>
FR_FN Vec<T> interleave(Vec<T> a, Vec<T> b) {
  return interleave<stride, kHigh, T>(a, b, std::make_integer_sequence<int, kLanes<T>>{});
}

template <class T, int stride = 1>
FR_FN void transpose(Vec<T> (&rows)[kLanes<T>]) {
  if constexpr (stride < kLanes<T>) {
    for (int i = 0; i < kLanes<T>; ++i) {
      if (i & stride) continue;
      const Vec<T> a = rows[i], b = rows[i + stride];
      rows[i] = interleave<stride, false, T>(a, b);
      rows[i + stride] = interleave<stride, true, T>(a, b);
    }
    transpose<T, 2 * stride>(rows);
  }
}

// Lane j of the result is the sum of the lanes of rows[j], always in the same order.
template <class T, int stride = 1>
FR_FN Vec<T> add_lanes(Vec<T> (&rows)[kLanes<T>]) {
  if constexpr (stride < kLanes<T>) {
    for (int i = 0; i < kLanes<T>; i += 2 * stride) {
      rows[i] = interleave<stride, false, T>(rows[i], rows[i + stride]) +
                interleave<stride, true, T>(rows[i], rows[i + stride]);
    }
    return add_lanes<T, 2 * stride>(rows);
  } else {
    return rows[0];
  }
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
