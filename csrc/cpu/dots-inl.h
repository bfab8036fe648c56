// Products of few rows with weights as they lie, where packing them would cost more.
#pragma once
#include "cpu/tile-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// lane j of sum[r] = h[r] . weights(j)
template <int R, class T, class Row>
__attribute__((noinline)) void dots(Row weights, Left<T> h, int64_t k, Vec<T> (&sum)[R]) {
  constexpr int W = kLanes<T>, kAtOnce = W < 8 || kRegisters == 16 ? (W < 4 ? W : 4) : 8;
  Vec<T> partial[R][W];
  for (int first = 0; first < W; first += kAtOnce) {
    Vec<T> acc[R][kAtOnce] = {};
    const T* row[kAtOnce];
    for (int j = 0; j < kAtOnce; ++j) row[j] = weights(first + j);
    const auto add = [&](int64_t i, auto lanes) __attribute__((always_inline)) {
      Vec<T> x[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) x[r] = load(h.data + r * h.row + i, lanes);
#pragma GCC unroll 8
      for (int j = 0; j < kAtOnce; ++j) {
        Vec<T> y = load(row[j] + i, lanes);
        keep_in_register<R>(y);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) acc[r][j] += x[r] * y;
      }
    };
    int64_t i = 0;
    for (; i + W <= k; i += W) add(i, AllLanes<T>{});
    if (i < k) add(i, k - i);
    for (int r = 0; r < R; ++r) {
      for (int j = 0; j < kAtOnce; ++j) partial[r][first + j] = acc[r][j];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r] = add_lanes<T>(partial[r]);
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
