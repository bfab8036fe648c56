// Numbers as they lie in memory and as they are computed with: float16 and bfloat16 are stored, and
// float32 is what a kernel computes in. Array is the way to memory, of values or of duals (a value
// array and a tangent array), W numbers at a time.
#pragma once
#include "cells/dual.h"
#include "cuda/dtypes.h"
#include "cuda/primitives.cuh"

namespace fused_rnn::cuda {

#define FR_DEVICE __device__ __forceinline__

FR_DEVICE float widen(float x) { return x; }
FR_DEVICE double widen(double x) { return x; }
FR_DEVICE float widen(Bf16 x) { return bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
FR_DEVICE float widen(F16 x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#elif !defined(__CUDACC__)
  return static_cast<float>(bit_cast<_Float16>(x.bits));
#else
  return 0;  // nvcc's pass for the host, where no kernel runs
#endif
}

FR_DEVICE void narrow(float x, float& to) { to = x; }
FR_DEVICE void narrow(double x, double& to) { to = x; }
FR_DEVICE void narrow(float x, Bf16& to) {  // to the nearest, ties to even; NaN stays NaN
  const uint32_t bits = bit_cast<uint32_t>(x);
  const uint32_t rounded = bits + 0x7FFF + (bits >> 16 & 1);
  to.bits = static_cast<uint16_t>((x != x ? bits | 0x400000 : rounded) >> 16);
}
FR_DEVICE void narrow(float x, F16& to) {
#if defined(__CUDA_ARCH__)
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
#elif !defined(__CUDACC__)
  to.bits = bit_cast<uint16_t>(static_cast<_Float16>(x));
#endif
}

// W numbers that are moved together, by instructions of up to 16 bytes.
template <class S, int W>
struct alignas(W * sizeof(S) < 16 ? W * sizeof(S) : 16) Pack {
  S lane[W];
};

template <int W, class S>
FR_DEVICE void load_pack(const S* from, Compute<S> (&to)[W]) {
  check_aligned(from, alignof(Pack<S, W>));
  const Pack<S, W> pack = *reinterpret_cast<const Pack<S, W>*>(from);
  for (int w = 0; w < W; ++w) to[w] = widen(pack.lane[w]);
}
template <int W, class S>
FR_DEVICE void store_pack(S* to, const Compute<S> (&from)[W]) {
  check_aligned(to, alignof(Pack<S, W>));
  Pack<S, W> pack;
  for (int w = 0; w < W; ++w) narrow(from[w], pack.lane[w]);
  *reinterpret_cast<Pack<S, W>*>(to) = pack;
}

template <int W, class S>
FR_DEVICE void load(Array<const S, Compute<S>> from, int64_t at, Compute<S> (&to)[W]) {
  load_pack<W>(from.value + at, to);
}
template <int W, class S>
FR_DEVICE void load(Array<const S, Dual<Compute<S>>> from, int64_t at, Dual<Compute<S>> (&to)[W]) {
  Compute<S> value[W], tangent[W];
  load_pack<W>(from.value + at, value);
  load_pack<W>(from.tangent + at, tangent);
  for (int w = 0; w < W; ++w) to[w] = {value[w], tangent[w]};
}

template <int W, class S>
FR_DEVICE void store(Array<S, Compute<S>> to, int64_t at, const Compute<S> (&from)[W]) {
  store_pack<W>(to.value + at, from);
}
template <int W, class S>
FR_DEVICE void store(Array<S, Dual<Compute<S>>> to, int64_t at, const Dual<Compute<S>> (&from)[W]) {
  Compute<S> value[W], tangent[W];
  for (int w = 0; w < W; ++w) value[w] = from[w].value, tangent[w] = from[w].tangent;
  store_pack<W>(to.value + at, value);
  store_pack<W>(to.tangent + at, tangent);
}

}  // namespace fused_rnn::cuda
