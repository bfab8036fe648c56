// A barrier of a few threads that meet at every step, far more often than an OpenMP barrier is good
// for: 30 ns where that takes 500.
#pragma once
#include "cells/numeric.h"
#if defined(__linux__)
#include <sched.h>
#endif

namespace fused_rnn::cpu {

class Barrier {
 public:
  FR_FN void wait(int count) {
    if (count == 1) return;
    const int round = __atomic_load_n(&round_, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&arrived_, 1, __ATOMIC_ACQ_REL) == count) {
      __atomic_store_n(&arrived_, 0, __ATOMIC_RELAXED);
      __atomic_store_n(&round_, round + 1, __ATOMIC_RELEASE);
      return;
    }
    // Who waits for longer than any step takes waits for a thread that has no core: let it have
    // this.
    constexpr int kSpins = 4000;
    for (int i = 0; __atomic_load_n(&round_, __ATOMIC_ACQUIRE) == round; ++i) {
      i < kSpins ? pause() : yield();
    }
  }

 private:
  FR_FN static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  FR_FN static void yield() {
#if defined(__linux__)
    sched_yield();
#endif
  }

  alignas(64) int arrived_ = 0;
  alignas(64) int round_ = 0;
};

}  // namespace fused_rnn::cpu
