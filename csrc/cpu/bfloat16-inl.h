// What is multiplied may be pairs of bfloat16 values: how those are multiplied, read and written.
#pragma once
#include "cpu/simd-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

#ifdef FUSED_RNN_AMX
constexpr bool kAmx = true;  // pairs are multiplied by AMX (amx-inl.h)
#else
constexpr bool kAmx = false;
#endif

// Panels of S have a multiple of so many k, zeros after the last: what an instruction multiplies at once.
template <class S>
constexpr int64_t kDepth = kAmx && std::is_same_v<S, BFloat16Pair> ? 16 : 1;
template <class S>
FR_FN int64_t to_depth(int64_t k) {
  return ceil_div(k, kDepth<S>) * kDepth<S>;
}

// What products of S are added up in.
template <class S>
using Sum = std::conditional_t<std::is_same_v<S, BFloat16Pair>, float, S>;

// The values of pairs, lower or upper halves.
FR_FN Vec<float> lower_of(Vec<BFloat16Pair> x) { return bit_cast<Vec<float>>(x << 16); }
FR_FN Vec<float> upper_of(Vec<BFloat16Pair> x) { return bit_cast<Vec<float>>(x & 0xffff0000u); }

// sum += a * b; of pairs both products. (The instruction takes subnormal numbers for zeros, and makes none.)
template <class S>
FR_FN void multiply_add(const Vec<S>& a, const Vec<S>& b, Vec<Sum<S>>& sum) {
  if constexpr (!std::is_same_v<S, BFloat16Pair>) {
    sum += a * b;
  } else {
#ifdef FUSED_RNN_BF16_INSTRUCTIONS
    sum = (Vec<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    sum += lower_of(a) * lower_of(b);
    sum += upper_of(a) * upper_of(b);
#endif
  }
}

// A vector of values from the i-th at p on, of T or stored as bfloat16, and back: rounded to the nearest, of two
// to the even one.
template <class T, class Lanes>
FR_FN Vec<T> load_from(const T* p, int64_t i, Lanes lanes) {
  return load(p + i, lanes);
}
template <class T, class Lanes>
FR_FN void store_to(T* p, int64_t i, Vec<T> v, Lanes lanes) {
  store(p + i, v, lanes);
}

template <class T>
FR_FN const void* address_in(const T* p, int64_t i) {
  return p + i;
}

// A bfloat16 is the upper half of a float.
typedef uint16_t UpperHalves __attribute__((vector_size(kVectorBytes / 2)));
template <class Lanes>
FR_FN void copy_halves(void* to, const void* from,
                       Lanes lanes) {  // of all lanes in one instruction
  if (lanes >= kLanes<float>) {
    __builtin_memcpy(to, from, sizeof(UpperHalves));
  } else {
    __builtin_memcpy(to, from, lanes * sizeof(uint16_t));
  }
}

FR_FN const void* address_in(const BFloat16Pair* p, int64_t i) {
  return reinterpret_cast<const uint16_t*>(p) + i;
}
FR_FN void* address_in(BFloat16Pair* p, int64_t i) { return reinterpret_cast<uint16_t*>(p) + i; }
template <class Lanes>
FR_FN Vec<float> load_from(const BFloat16Pair* p, int64_t i, Lanes lanes) {
  UpperHalves halves = {};
  copy_halves(&halves, address_in(p, i), lanes);
  return bit_cast<Vec<float>>(__builtin_convertvector(halves, Vec<BFloat16Pair>) << 16);
}
template <class T>
FR_FN T value_of(const T* p, int64_t i) {
  return p[i];
}
FR_FN float value_of(const BFloat16Pair* p, int64_t i) {
  return bit_cast<float>(p[i / 2] << (i % 2 ? 0 : 16) & 0xffff0000u);
}
// Values of two rows, the first in the lower halves. Without a second row: zeros.
template <class Lanes>
FR_FN Vec<BFloat16Pair> pairs_of(const BFloat16Pair* first, const BFloat16Pair* second, int64_t i,
                                 Lanes lanes) {
  const Vec<float> upper = second ? load_from(second, i, lanes) : Vec<float>{};
  return bit_cast<Vec<BFloat16Pair>>(load_from(first, i, lanes)) >> 16 |
         bit_cast<Vec<BFloat16Pair>>(upper);
}
template <class Lanes>
FR_FN void store_to(BFloat16Pair* p, int64_t i, Vec<float> v, Lanes lanes) {
  const auto bits = bit_cast<Vec<BFloat16Pair>>(v);
  const auto nearest = bits + 0x7fff + (bits >> 16 & 1), nan = bits | 0x400000;
  const UpperHalves halves = __builtin_convertvector((v == v ? nearest : nan) >> 16, UpperHalves);
  copy_halves(address_in(p, i), &halves, lanes);
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
