// What bounds every product here: the tile with both operands in the L1 cache.
#pragma once
#include "cpu/matrix-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Runs the tile so many times and returns the floating-point operations it did.
template <class T>
int64_t saturate(int64_t times) {
  constexpr int V = RightMatrix<T>::V, R = kTileRows<V>;
  constexpr int64_t W = kLanes<T>, k = 64;
  alignas(64) T a[R * k] = {}, panel[k * V * W] = {}, out[R * V * W];
  constexpr int kTerms = 8;
  Term<T> terms[kTerms];
  for (Term<T>& term : terms) term = {{a, k, 1}, {panel, V * W}, k};
  for (int64_t i = 0; i < times; ++i) {
    tile<R, V>(terms, {nullptr, 0}, {out, V * W}, Nothing{});
    // May read the result and change the operands, as far as the compiler knows.
    asm volatile("" ::"r"(a), "r"(panel), "r"(out) : "memory");
  }
  return times * 2 * R * V * W * k * kTerms;
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
