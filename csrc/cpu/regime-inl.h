// What a pass does depends on how much there is to do: the limits, measured (docs/performance.md), what
// follows from them forward, and how threads share.
#pragma once
#include "cpu/soon-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// A core's L2 cache; and weights of more bytes than stay in L3, where inputs and outputs pass too.
constexpr int64_t kL2Bytes = 1 << 20, kManyBytes = 16 << 20;

// So many bytes of weights as they lie come from L3, and so many from memory, since other things use L3 as well:
// products then ask for those they use next. Where few rows leave no time to wait for L3, or two threads wait for it,
// asking costs up to 15%.
constexpr int64_t kFromL3Bytes = 3 << 19, kFromMemoryBytes = 12 << 20;

// Rows that a dot product has at a time.
constexpr int kRowsAtOnce = kRegisters == 32 ? 3 : 2;

// Of the next step's input and output: less gains nothing (an RNN loses 1-2%), and more of each would leave the
// L2 cache again before it is used, as would what is asked for before so many bytes of weights pass by.
constexpr int64_t kWorthAskingBytes = 32 * 1024, kMostBytes = 256 * 1024,
                  kPassingBytes = 256 * 1024;

// Up to so many rows of k elements, packing weights costs more than it saves.
constexpr int64_t kMostFewRows = 24;
FR_FN bool few_rows(int64_t rows, int64_t k) {
  return rows <= max(7, min(k / (kAmx ? 12 : 8), kMostFewRows));
}

// Backward vectors run along the rows of the weights: as they lie they are as good as packed, but for
// what a panel spares the caches, which is little where it is read in few steps.
FR_FN bool read_seldom(int64_t rows, int64_t steps) { return rows <= 256 && steps <= 8; }

// Whether so many rows of one step, each in a lane of its own, fill vectors of which few make a tile:
// the rows are then packed, not the weights.
FR_FN bool fills_lanes(int64_t rows, int64_t lanes) {
  return rows >= 7 && rows <= 4 * lanes && 8 * rows >= 7 * ceil_div(rows, lanes) * lanes;
}

// Stands for what was measured on one of Intel's CPUs with AMX: an L3 of hundreds of megabytes, which a core reads at
// 25-28 GB/s in any order.
inline bool on_amx_cpu() { return current_isa() == Isa::kAmx; }

// Whether reading the weights, of so many bytes, is what takes the time of a step: threads then share
// the units, meet after every step, and not the sequences. A meeting is worth it from so many
// multiplications on: it costs time, and lines go from one core's cache to another's.
constexpr int64_t kFewSequences = 3, kManySequences = 128, kWorthMeeting = 20'000;
FR_FN bool bound_by_weights(int64_t batch, int64_t bytes, int64_t multiplications) {
  if (batch <= 1 || multiplications < kWorthMeeting) return batch <= 1;
  return batch <= kFewSequences || (batch < kManySequences && bytes > kManyBytes);
}

// Likewise where several threads would each read all weights, of L3, for a few sequences of their own, if the panels
// of units are dealt to them evenly.
inline bool threads_bound_by_weights(int threads, int64_t panels, int64_t batch, int64_t bytes,
                                     int64_t multiplications) {
  constexpr int64_t kBytesASequence = 128 * 1024, kFewOfAThread = 32;
  const int64_t few = threads * min(bytes / kBytesASequence, kFewOfAThread);
  const bool evenly = 7 * ceil_div(panels, threads) * threads <= 8 * panels;
  return on_amx_cpu() && threads > 1 && evenly && batch <= min(few, kManySequences) &&
         bytes >= kFromL3Bytes && multiplications >= kWorthMeeting;
}

// Where panels come from L3, a panel's first tile takes three times as long as those that find it in L2: so tiles
// ask for the next panel. Of a smaller matrix too little comes from L3, and the time to wait in grows with rows and
// matrix; two threads of Zen 3 wait for L3 anyway.
inline bool asks_for_next_panel(int threads, int64_t rows, int64_t matrix_bytes) {
  constexpr int64_t kMegabyte = 1 << 20, kRows = kVectorBytes == 32 ? 8 : 4,
                    kBytes = (kVectorBytes == 32 ? 12 : 4) * kMegabyte;
  return kAsksForNextPanel && (threads == 1 || on_amx_cpu()) && rows >= kRows &&
         matrix_bytes >= kMegabyte && rows * matrix_bytes >= kBytes;
}

// Where packing gains nothing for weights, in whole lines, that are read in so few steps.
inline bool as_good_as_packed(int64_t batch, int64_t steps, int64_t bytes) {
  return on_amx_cpu() && batch <= (kAmx ? 1 : kFewSequences) && steps <= 64 &&
         bytes >= kFromL3Bytes;
}

enum class Weights {
  kPacked,     // in this call or by `prepack`
  kAsVectors,  // as they lie, in dot products
  kAsScalars   // as they lie, a value at a time: what they are multiplied with is packed
};

enum class Input {
  kGiven,   // already multiplied
  kJoined,  // multiplied in the same tile as the state
  kAhead    // multiplied a block of steps ahead, small enough to be still in the cache when used
};

struct ForwardPlan {
  bool by_units;  // threads share the units, or there is one thread
  Weights weight_ih, weight_hh;
  Input input;
  int64_t block_rows;  // of a block made ahead
  bool one_block;      // a panel of weight_ih is then packed when it is used, if at all
  bool one_sum;        // tiles add the state's part to the input's
  bool from_l3,
      from_memory;  // whether weights come from there and are asked for, by one thread and by all

  // Whether products of so many rows ask for the weights, as they lie, that they use next.
  bool asks(int64_t rows) const { return from_memory || (from_l3 && rows > kRowsAtOnce); }
};

// For weight_ih and weight_hh of so many bytes, units in so many panels, a row of pre-activations of `row_bytes`, and
// so many lanes of a vector. `in_lines`: each row of weight_hh [..][k] is whole lines.
inline ForwardPlan plan_forward(int threads, int64_t panels, int64_t rows, int64_t batch,
                                int64_t steps, int64_t k, bool given, bool prepacked, bool in_lines,
                                int64_t lanes, int64_t in_bytes, int64_t out_bytes,
                                int64_t row_bytes, int64_t multiplications) {
  const bool several_steps = rows > batch, few = few_rows(rows, k);
  // Packed weights are better unless they come from L3, where rows of weights are read faster than panels, for more
  // rows than a vector has lanes.
  const bool slow_panels = on_amx_cpu() && rows > lanes && in_bytes + out_bytes >= kFromL3Bytes;
  const bool as_scalars = !several_steps && fills_lanes(rows, lanes) && (!prepacked || slow_panels);
  const Weights weight_ih = as_scalars          ? Weights::kAsScalars
                            : few && !prepacked ? Weights::kAsVectors
                                                : Weights::kPacked;
  const bool in_place =
      several_steps && !prepacked && in_lines && as_good_as_packed(batch, steps, out_bytes);
  const Weights weight_hh = in_place ? Weights::kAsVectors : weight_ih;
  const bool by_units = few || weight_ih == Weights::kAsScalars ||
                        bound_by_weights(batch, in_bytes + out_bytes, multiplications);
  // So weight_ih passes by once for all steps, if there are several; and it is packed in passing.
  const bool pays = several_steps || (weight_ih == Weights::kPacked && !prepacked);
  // It also pays for one thread where the L2 cache has no room for both weights and the rows, and tiles ask for the
  // next panel (measured with as many inputs as units); and for several that share the units.
  constexpr int64_t kJoinedBytes = (kVectorBytes == 32 ? 192 : 768) * 1024;  // of each weight
  const bool has_no_room =
      kWide && threads == 1 && batch <= kManySequences && min(in_bytes, out_bytes) > kJoinedBytes;
  const bool apart =
      several_steps &&
      (has_no_room ||
       threads_bound_by_weights(threads, panels, batch, in_bytes + out_bytes, multiplications));
  const Input input = given                         ? Input::kGiven
                      : (by_units && pays) || apart ? Input::kAhead
                                                    : Input::kJoined;
  // The bits are those of other numbers of threads, for which the same may be joined.
  const bool one_sum = input == Input::kJoined || (input == Input::kAhead && !by_units);
  // A block has rows enough for the tile, and so many more, where the weights do not stay in the
  // cache, that they pass through it seldom.
  constexpr int64_t kBlockBytes = 256 * 1024, kBlockRows = 64;
  const int64_t bytes = in_bytes > 4 * kL2Bytes ? 4 * kL2Bytes : kBlockBytes;
  const int64_t block = min(rows, max(kBlockRows, max(batch, bytes / row_bytes)));
  // What is read before any of it is read again.
  const int64_t at_once =
      input == Input::kJoined ? in_bytes + out_bytes : max(given ? 0 : in_bytes, out_bytes);
  return {by_units || apart,
          weight_ih,
          weight_hh,
          input,
          block,
          input == Input::kAhead && block == rows,
          one_sum,
          kWide && threads == 1 && at_once >= kFromL3Bytes,
          !on_amx_cpu() && (given ? 0 : in_bytes) + out_bytes >= kFromMemoryBytes};
}

struct Range {
  int64_t first, last;
};
// Rows [range) of `width` values each.
template <class Value>
FR_FN void copy_rows(const Value* from, Range range, int64_t width, Value* to) {
  const int64_t at = range.first * width;
  if (range.first < range.last) copy(to + at, from + at, (range.last - range.first) * width);
}
// The i-th of a range, from its end on if in reverse.
FR_FN int64_t nth(Range range, int64_t i, bool reverse) {
  return reverse ? range.last - 1 - i : range.first + i;
}
// The part of [0, n) that one thread of `count` has.
FR_FN Range share(int64_t n, int thread, int count) {
  return {n * thread / count, n * (thread + 1) / count};
}

// Into how many parts the steps may be divided.
FR_FN int64_t parts(bool by_units, int64_t batch, int64_t panels, int64_t multiplications) {
  return max(!by_units ? batch : multiplications < kWorthMeeting ? 1 : panels, 1);
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
