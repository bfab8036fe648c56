// What bounds every product here: the tile with both operands in the L1 cache.
#pragma once
#include "cpu/matrix-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Runs the tile so many times and returns the floating-point operations it did, so that only multiply-adds, and a
// sum's way to out, can bound it: a panel of the unrolled loop takes 16 KB; where a panel would take more, every
// k reads the same few lines of it.
template <class T>
int64_t saturate(int64_t times) {
  constexpr int V = RightMatrix<T>::V, R = kTileRows<V>, N = 2;
  constexpr int64_t k = kSummands, kRow = V * kLanes<T>;
  alignas(64) T a[R * k] = {}, panel[k * kRow] = {}, out[R * kRow];
  const Term<T> term{{a, k}, {panel, kUnrolled > 1 ? kRow : 0}, k}, terms[N] = {term, term};
  for (int64_t i = 0; i < times; ++i) {
    tile<R, V>(terms, {nullptr, 0}, {out, kRow}, Nothing{});
    // May read the result and change the operands, as far as the compiler knows.
    asm volatile("" ::"r"(a), "r"(panel), "r"(out) : "memory");
  }
  return times * 2 * N * R * k * kRow;
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
