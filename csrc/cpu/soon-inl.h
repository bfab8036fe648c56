// What a tile asks for beside its products: the next panel, and what is read or written after it.
#pragma once
#include "cpu/bfloat16-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// So many k a turn of the loop over a packed panel: what is no multiply-add costs time where a core starts two of
// them a cycle, or where a program on the core's other thread takes its share of the instructions.
constexpr int kUnrolled = kWide ? 4 : 1;

// Whether tiles can ask for the next panel, and how many of its lines with a turn of the loop. AVX2: all of a panel
// with 12 rows, with 8 three quarters.
constexpr bool kAsksForNextPanel = kWide && !kAmx;
constexpr int64_t kLinesATurn = kVectorBytes / 16;

// What a tile asks for beside its products: rows of memory that are read or written after it, and perhaps in L3, one
// with every k; and lines of a panel, with every turn of its unrolled loop so many bytes further.
struct Soon {
  const void* const* rows = nullptr;
  int64_t count = 0, bytes = 0;  // of each row
  const char* line = nullptr;    // null: none
  int64_t step = 0;
};

// What a tile of k and of rows [r, r + count) of `rows` asks for: first as `soon` says, then for its part of the
// panel that comes next, whose values these are, if it is not null. All tiles of a panel ask evenly: faster than
// L3 delivers they would only wait.
template <class S>
FR_FN Soon with_part_of(const S* next, int64_t values, int64_t k, int64_t r, int64_t count,
                        int64_t rows, Soon soon) {
  if (!kAsksForNextPanel || !next) return soon;
  const int64_t bytes = values * static_cast<int64_t>(sizeof(S));
  const int64_t first = bytes * r / rows, last = bytes * (r + count) / rows;
  soon.line = reinterpret_cast<const char*>(next) + first;
  soon.step = ceil_div(last - first, max(1, (k - soon.count) / kUnrolled));
  return soon;
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
