// What a pass does depends on how much there is to do: the limits, measured (docs/performance.md), and
// how threads share.
#pragma once
#include "cpu/simd-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Up to so many rows, k long, packing weights costs more than it saves.
FR_FN bool few_rows(int64_t rows, int64_t k) { return rows <= max(7, min(k / 12, 24)); }

constexpr int64_t kL2Bytes = 1 << 20, kL3Bytes = 16 << 20;

// Whether reading the weights, of so many bytes, is what takes the time of a step: threads then share
// the units and not the sequences.
constexpr int64_t kFewSequences = 3, kManySequences = 128;
FR_FN bool bound_by_weights(int64_t batch, int64_t bytes) {
  return batch <= kFewSequences || (batch < kManySequences && bytes > kL3Bytes);
}

// Multiplications of a step from which on threads gain more by sharing its units than a meeting
// costs, and the lines that go from one core's cache to another's.
constexpr int64_t kWorthMeeting = 20'000;

struct Range {
  int64_t first, last;
};
// The part of [0, n) that one thread of `count` has.
FR_FN Range share(int64_t n, int thread, int count) {
  return {n * thread / count, n * (thread + 1) / count};
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
