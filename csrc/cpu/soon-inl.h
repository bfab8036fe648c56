// What a tile asks for beside its products: its own panel, the next one, and
// what is read or written after it.
#pragma once
#include "cpu/simd-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// So many k a turn of the loop over a packed panel. Beside a program on the
// core's other thread, which takes its share of the instructions a cycle, those
// that are no multiply-add cost time. (Two or four gain nothing on AVX-512
// where a core starts one multiply-add a cycle.)
constexpr int kUnrolled = kVectorBytes == 32 ? 4 : 1;

// So many k before they are used, values of the panel are asked for to be in
// the L2 cache: where panels come from L3, the processor's own prefetching
// leaves the tiles waiting.
constexpr int64_t kAhead = 64;
// Asking for the panel pays in tiles of at least so many multiplications a k:
// none of AVX2's has them.
constexpr int kWorthAskingForPanel = 16;

// Where panels come from L3, a panel's first tile takes three times as long as
// those that find it in L2: so tiles ask for the next panel. Of a smaller
// matrix too little comes from L3; the time to wait in grows with rows and
// matrix; and two threads wait for L3 anyway. (AVX-512's tiles ask for their
// own, and gain nothing by it.)
constexpr bool kAsksForNextPanel = kVectorBytes == 32;
static_assert(!kAsksForNextPanel || kUnrolled > 1, "it is the unrolled loop that asks");
constexpr int64_t kLinesATurn = 2;  // all of a panel with 12 rows; with 8 three quarters
FR_FN bool asks_for_next_panel(int threads, int64_t rows, int64_t matrix_bytes) {
  constexpr int64_t kMegabyte = 1 << 20;
  return kAsksForNextPanel && threads == 1 && rows >= 8 && matrix_bytes >= kMegabyte &&
         rows * matrix_bytes >= 12 * kMegabyte;
}

// Rows of memory that are read or written after a tile, and perhaps in L3: it
// asks for one with every k, so that they come beside its products and not
// after them.
struct Soon {
  const void* const* rows;
  int64_t count, bytes;  // of each
};
struct Nothing {};  // in place of Soon

// And for lines of a panel, with every turn of its unrolled loop so many bytes
// further.
struct SoonAndLines : Soon {
  const char* line;
  int64_t step;
};

// What a tile of k and of rows [r, r + count) of `rows` asks for of the panel
// that comes next, whose values these are, and before it as `soon` says. All
// tiles of a panel ask evenly: faster than L3 delivers they would only wait.
template <class S>
FR_FN SoonAndLines with_part_of(const S* next, int64_t values, int64_t k, int64_t r, int64_t count,
                                int64_t rows, Soon soon) {
  const int64_t bytes = values * static_cast<int64_t>(sizeof(S));
  const int64_t first = bytes * r / rows, last = bytes * (r + count) / rows;
  return {soon, reinterpret_cast<const char*>(next) + first,
          ceil_div(last - first, max(1, (k - soon.count) / kUnrolled))};
}
FR_FN Soon rows_of(Soon soon) { return soon; }
FR_FN Soon rows_of(Nothing) { return {nullptr, 0, 0}; }

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
