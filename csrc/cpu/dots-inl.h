// Products of few rows with weights as they lie, where packing them would cost more.
#pragma once
#include "cpu/tile-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Rows and the weights they are multiplied with, a row of these for each lane: k apart from `weights` on or, where
// `listed` is not null, there. `next` is where weights that come later begin, without gaps.
template <class S>
struct Dot {
  const S* weights;
  const S* const* listed;
  Left<S> a;
  int64_t k;
  const S* next;
};

// lane j of sum[r] = a[r] . the weights of lane j, added up over `count` of such products. What is asked for beside
// them: nothing (kParts = 0); the rows that come next, first of these weights, which are not listed, and then at `next`
// (1); or one part of the memory at `next`, which has 2 to 4 for the weights of all lanes.
template <int R, int kParts, class S>
__attribute__((noinline)) void dots(const Dot<S>* dot, int count, Vec<Sum<S>> (&sum)[R]) {
  constexpr int W = kLanes<S>;
  // Rows of weights at a time, as many as registers hold sums for.
  constexpr int N = min(W, R * 8 + R + 1 < kRegisters ? 8 : 4);
  Vec<Sum<S>> partial[R][W];
  for (int first = 0; first < W; first += N) {
    Vec<Sum<S>> acc[R][N] = {};
    for (int d = 0; d < count; ++d) {
      const Left<S> a = dot[d].a;
      const int64_t k = dot[d].k;
      const S* const* listed = offset(dot[d].listed, first);
      const S *weights[N], *row = dot[d].weights + first * k;
      for (int j = 0; j < N; ++j, row += k) weights[j] = listed ? listed[j] : row;
      // With every vector of k, in whole lines.
      constexpr int64_t kLine = kLineBytes / sizeof(S),
                        kPart = kParts > 1 ? ceil_div(N * W, kParts * kLine) * kLine : 0;
      const S* next = kParts > 1      ? dot[d].next + first * k / kParts
                      : first + N < W ? row
                                      : dot[d].next;
      const auto add = [&](int64_t i, auto lanes) __attribute__((always_inline)) {
        prefetch(next, kPart);
        next += kPart;
        Vec<S> x[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) x[r] = load(a.data + r * a.row + i, lanes);
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
          if constexpr (kParts == 1) prefetch(next + j * k + i, W);
          Vec<S> y = load(weights[j] + i, lanes);
          keep_in_register<R>(y);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) multiply_add<S>(x[r], y, acc[r][j]);
        }
      };
      int64_t i = 0;
      for (; i + W <= k; i += W) add(i, AllLanes<S>{});
      if (i < k) add(i, k - i);
    }
    for (int r = 0; r < R; ++r) {
      for (int j = 0; j < N; ++j) partial[r][first + j] = acc[r][j];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r] = add_lanes<Sum<S>>(partial[r]);
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
