// Products of few rows with weights as they lie, where packing them would cost more.
#pragma once
#include "cpu/tile-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// lane j of sum[r] = h[r] . weights(j). Where the rows of weights lie one after the other, `ahead` may be those
// that are used next, to be asked for, else null.
template <int R, class S, class Row>
__attribute__((noinline)) void dots(Row weights, Left<S> h, int64_t k, const S* ahead,
                                    Vec<Sum<S>> (&sum)[R]) {
  constexpr int W = kLanes<S>, kAtOnce = W < 8 || kRegisters == 16 ? (W < 4 ? W : 4) : 8;
  Vec<Sum<S>> partial[R][W];
  for (int first = 0; first < W; first += kAtOnce) {
    Vec<Sum<S>> acc[R][kAtOnce] = {};
    const S* row[kAtOnce];
    for (int j = 0; j < kAtOnce; ++j) row[j] = weights(first + j);
    const S* next = first + kAtOnce < W ? weights(first + kAtOnce) : ahead;
    const auto add = [&](int64_t i, auto lanes, auto asks) __attribute__((always_inline)) {
      Vec<S> x[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) x[r] = load(h.data + r * h.row + i, lanes);
#pragma GCC unroll 8
      for (int j = 0; j < kAtOnce; ++j) {
        if constexpr (asks) prefetch(next + j * k + i, W);
        Vec<S> y = load(row[j] + i, lanes);
        keep_in_register<R>(y);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) multiply_add<S>(x[r], y, acc[r][j]);
      }
    };
    const auto add_all = [&](auto asks) __attribute__((always_inline)) {
      int64_t i = 0;
      for (; i + W <= k; i += W) add(i, AllLanes<S>{}, asks);
      if (i < k) add(i, k - i, asks);
    };
    ahead ? add_all(std::true_type{}) : add_all(std::false_type{});
    for (int r = 0; r < R; ++r) {
      for (int j = 0; j < kAtOnce; ++j) partial[r][first + j] = acc[r][j];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r] = add_lanes<Sum<S>>(partial[r]);
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
