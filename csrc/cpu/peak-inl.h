// What bounds every product here: the tile with both operands in the L1 cache.
#pragma once
#include "cpu/matrix-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Runs the tile so many times and returns the floating-point operations it did. Everything is in the L1 cache:
// beside multiply-adds only the way of a sum to out bounds it, and what another program leaves of the core. An
// unrolled loop walks along its panel of 16 KB; in any other every k reads the same row.
template <class T>
int64_t saturate(int64_t times) {
  constexpr int V = RightMatrix<T>::V, R = kTileRows<V>, N = 2;
  constexpr int64_t k = kSummands, kRow = V * kLanes<T>;
  constexpr bool kWalks = kUnrolled > 1;
  alignas(64) T a[R * k] = {}, panel[kWalks ? k * kRow : kRow] = {}, out[R * kRow];
  const Term<T> term{{a, k}, {panel, kWalks ? kRow : 0}, k}, terms[N] = {term, term};
  for (int64_t i = 0; i < times; ++i) {
    tile<R, V, false>(terms, N, {nullptr, 0}, {out, kRow}, Soon{});
    // May read the result and change the operands, as far as the compiler knows.
    asm volatile("" ::"r"(a), "r"(panel), "r"(out) : "memory");
  }
  return times * 2 * N * R * k * kRow;
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
