// What bounds every product here: the tile with both operands in the L1 cache.
#pragma once
#include "cpu/matrix-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Runs the tile so many times and returns the floating-point operations it did. Strides of 0: every k reads
// the same few lines, so that only multiply-adds, and a sum's way to out, can bound it.
template <class T>
int64_t saturate(int64_t times) {
  constexpr int V = RightMatrix<T>::V, R = kTileRows<V>;
  constexpr int64_t k = 2 * kSummands;
  alignas(64) T a[R] = {}, panel[V * kLanes<T>] = {}, out[R * V * kLanes<T>];
  const Term<T> term[] = {{{a, 1, 0}, {panel, 0}, k}};
  for (int64_t i = 0; i < times; ++i) {
    tile<R, V>(term, {nullptr, 0}, {out, V * kLanes<T>}, Nothing{});
    // May read the result and change the operands, as far as the compiler knows.
    asm volatile("" ::"r"(a), "r"(panel), "r"(out) : "memory");
  }
  return times * 2 * R * V * kLanes<T> * k;
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
