// What bounds every product here: multiply-adds of registers.
#pragma once
#include "cpu/tile-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Hides what a register holds.
template <class V>
FR_FN void hide(V& value) {
#if defined(__x86_64__)
  asm("" : "+v"(value));
#elif defined(__aarch64__)
  asm("" : "+w"(value));
#else
  asm("" : "+m"(value));
#endif
}

// Adds products to so many sums that none waits for itself, so many times, and returns the floating-point
// operations that it did. No memory is read: of what another program leaves of the core, its multipliers alone
// bound it.
template <class T>
int64_t multiply_adds(int64_t times) {
  constexpr int kSums = kRegisters == 32 ? 24 : 12;
  Vec<T> sum[kSums] = {}, a = {}, b = {};
  for (int64_t i = 0; i < times; ++i) {
    repeat<kSums>([&](auto s) __attribute__((always_inline)) {
      hide(a);
      hide(sum[s]);
      multiply_add<T>(a, b, sum[s]);
    });
  }
  Vec<T> total{};
  repeat<kSums>([&](auto s) __attribute__((always_inline)) { total += sum[s]; });
  asm volatile("" ::"m"(total));
  return times * 2 * kSums * kLanes<T>;
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
