// The recurrence forward. A thread takes a slice of the batch through all steps, with no barrier: a
// step is the product of the last h with weight_hh, a tile at a time, and the cell over each tile
// while it is in the L1 cache. A panel holds kUnits vectors of hidden units, all gates of a unit
// side by side. Where the input's part is not given it is made a block of steps ahead, small enough
// to be still in the cache when it is used.
#pragma once
#include "cpu/matrix-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Below this many rows in all, or with a batch of one, weights are used as they lie: packing reads
// and writes them once, which costs about as much as the products of that many rows.
constexpr int64_t kFewRows = 32;

template <class Cell, class T>
class ForwardPass {
  static constexpr int W = kLanes<T>, G = Cell::kGates;
  static constexpr int kUnits = G > 1 ? 1 : kRegisters == 32 ? 4 : 2, V = G * kUnits;

  // A block of projected rows: 256 KB of gates, but enough rows for the tile; and what of its input
  // has to be gathered at most 4 MB.
  static constexpr int64_t kGateBytes = 256 * 1024, kInputBytes = 4 * 1024 * 1024, kTileFull = 64;

  struct Place {  // where a row of a step reads and writes
    const T *h, *xg;
    T *c, *hidden, *cells, *tape;  // cells, tape: null in inference
  };

 public:
  explicit ForwardPass(const Forward<T>& args)
      : f_(args),
        p_(args.problem),
        packed_(p_.batch > 1 && p_.rows > kFewRows),
        panels_(ceil_div(p_.hidden, kUnits * W)),
        weights_(packed_ ? panels_ * p_.out * V * W : 0),
        bias_(args.bias_hh ? panels_ * V * W : 0),
        projection_(p_.hidden, p_.weight_hr ? p_.out : 0),
        projected_(p_.weight_hr ? p_.batch * p_.hidden : 0),
        input_weights_(args.in, args.xg ? 0 : G * p_.hidden) {}

  // Memory for a team of `count`. One thread has all sequences, whose rows lie together already.
  void allocate(int count) {
    if (f_.xg) return;
    const int64_t gates = G * p_.hidden, element = sizeof(T);
    gather_ = count > 1;
    int64_t rows = max(kTileFull, kGateBytes / (gates * element));
    if (gather_) rows = min(rows, kInputBytes / (max(f_.in, 1) * element));
    block_rows_ = min(max(rows, ceil_div(p_.batch, count)), p_.rows);
    block_.allocate(count * block_size());
  }

  // The share of one thread of `count`: first the packing, then, after a barrier, run.
  void pack(int thread, int count) {
    for (int64_t p = panels_ * thread / count; p < panels_ * (thread + 1) / count; ++p) {
      const int64_t width = unit_vectors(p) * G;
      for (int64_t v = 0; v < width; ++v) {
        const int64_t unit = (p * kUnits + v / G) * W, valid = p_.hidden - unit;
        const int64_t row = v % G * p_.hidden + unit;
        if (f_.bias_hh) store(bias_ + (p * V + v) * W, load(f_.bias_hh + row, valid));
        if (packed_) {
          pack_transposed(p_.weight_hh + row * p_.out, valid, p_.out,
                          weights_ + (p * p_.out * V + v) * W, width * W);
        }
      }
    }
    projection_.pack_transpose_of(p_.weight_hr, thread, count);
    input_weights_.pack_transpose_of(f_.weight_ih, thread, count);
  }

  void run(int thread, int count) {
    const int64_t first = p_.batch * thread / count, last = p_.batch * (thread + 1) / count;
    const int64_t H = p_.hidden, out = p_.out, size = last - first;
    if (p_.c_0 && size > 0) copy(p_.c_0 + first * H, size * H, f_.c_n + first * H);
    if (p_.num_steps == 0 && size > 0) copy(p_.h_0 + first * out, size * out, f_.h_n + first * out);
    Block block{block_ + thread * block_size(), 0, 0, 0};
    for (int64_t s = 0; s < p_.num_steps; ++s) {
      const Step& step = p_.steps[s];
      const int64_t end = min(last, step.size);
      if (end <= first) continue;
      if (!f_.xg && s >= block.end) project(s, first, last, block);
      const T* xg = f_.xg ? f_.xg + (step.row + first) * G * H
                          : block.gates + (gather_ ? block.used : step.row - block.row) * G * H;
      block.used += end - first;
      const int64_t starting = max(first, min(end, step.kept));
      if (first < starting) {
        rows(first, starting, step, f_.output + p_.steps[s - 1].row * out, xg, s & 1);
      }
      if (starting < end) {
        rows(starting, end, step, p_.h_0, xg + (starting - first) * G * H, s & 1);
      }
      const int64_t go_on = s + 1 < p_.num_steps ? p_.steps[s + 1].kept : 0;
      for (int64_t b = max(first, go_on); b < end; ++b) {
        copy(f_.output + (step.row + b) * out, out, f_.h_n + b * out);
      }
    }
  }

 private:
  // Vectors of units in panel p; the last may have fewer.
  int64_t unit_vectors(int64_t p) const {
    return min(kUnits, ceil_div(p_.hidden - p * kUnits * W, W));
  }

  static FR_FN void copy(const T* from, int64_t n, T* to) {
    __builtin_memcpy(to, from, n * sizeof(T));
  }

  struct Block {   // of steps whose gates have been made
    T* gates;      // [block_rows][G * hidden]; after it the gathered input, [block_rows][in]
    int64_t end;   // the step after them
    int64_t row;   // the first row, where all rows were taken as they lie
    int64_t used;  // rows used so far, where they were gathered
  };

  int64_t block_size() const { return block_rows_ * (G * p_.hidden + (gather_ ? f_.in : 0)); }

  // Makes the gates of the sequences [first, last) for as many steps from s on as fit in a block.
  void project(int64_t s, int64_t first, int64_t last, Block& block) {
    const int64_t in = f_.in;
    T* gathered = block.gates + block_rows_ * G * p_.hidden;
    int64_t count = 0;
    block = {block.gates, s, p_.steps[s].row, 0};
    for (; block.end < p_.num_steps; ++block.end) {
      const Step& step = p_.steps[block.end];
      const int64_t n = max(min(last, step.size) - first, 0);
      if (count + n > block_rows_) break;
      if (gather_) copy(f_.input + (step.row + first) * in, n * in, gathered + count * in);
      block.row = min(block.row, step.row);
      count += n;
    }
    const T* x = gather_ ? gathered : f_.input + block.row * in;
    input_weights_.multiply_all(count, x, f_.bias_ih, block.gates);
  }

  // A step for the sequences [b, end); h[b] is the state before, xg starts with that of b. Every
  // other step takes the panels in reverse, so that the first ones are still in the cache.
  void rows(int64_t b, int64_t end, const Step& step, const T* h, const T* xg, bool reverse) {
    const int64_t H = p_.hidden, row = step.row + b, n = end - b;
    T* hidden = p_.weight_hr ? projected_ + b * H : f_.output + row * H;
    const Place place{h + b * p_.out,
                      xg,
                      f_.c_n ? f_.c_n + b * H : nullptr,
                      hidden,
                      f_.cells ? f_.cells + row * H : nullptr,
                      f_.tape ? f_.tape + row * Cell::kTape * H : nullptr};
    for (int64_t i = 0; i < panels_; ++i) {
      const int64_t p = reverse ? panels_ - 1 - i : i;
      if (packed_) {
        packed_panel(p, n, place);
      } else {
        unpacked_panel(p, n, place);
      }
    }
    if (p_.weight_hr) {
      projection_.multiply_all(n, hidden, static_cast<const T*>(nullptr), f_.output + row * p_.out);
    }
  }

  void packed_panel(int64_t p, int64_t n, const Place& place) {
    with_constant<kUnits>(unit_vectors(p), [&](auto u) __attribute__((always_inline)) {
      constexpr int width = u * G;  // vectors of this panel
      alignas(64) T sums[kTileRows<width> * width * W];
      const Rows<const T> init{f_.bias_hh ? bias_ + p * V * W : nullptr, 0};
      for_tiles<width>(n, [&](int64_t r, int count) __attribute__((always_inline)) {
        tile<width>(count, {place.h + r * p_.out, p_.out, 1}, weights_ + p * p_.out * V * W, p_.out,
                    init, {sums, width * W});
        cell<u>(p, r, count, sums, place);
      });
    });
  }

  void unpacked_panel(int64_t p, int64_t n, const Place& place) {
    constexpr int kAtOnce = kRegisters == 32 ? 3 : 2;
    int64_t r = 0;
    for (; r + kAtOnce <= n; r += kAtOnce) unpacked_rows<kAtOnce>(p, r, place);
    for (; r < n; ++r) unpacked_rows<1>(p, r, place);
  }

  template <int R>
  void unpacked_rows(int64_t p, int64_t r, const Place& place) {
    alignas(64) T sums[R * V * W];
    for (int v = 0; v < V; ++v) {
      const int64_t unit = (p * kUnits + v / G) * W;
      if (unit >= p_.hidden) break;
      Vec<T> sum[R];
      dots<R>(p_.weight_hh + (v % G * p_.hidden + unit) * p_.out, p_.hidden - unit,
              {place.h + r * p_.out, p_.out, 1}, p_.out, sum);
      const Vec<T> bias = f_.bias_hh ? load(bias_ + p * V * W + v * W) : Vec<T>{};
      for (int i = 0; i < R; ++i) store(sums + (i * V + v) * W, bias + sum[i]);
    }
    cell<kUnits>(p, r, R, sums, place);
  }

  // The cell for `count` rows from r on, whose recurrent parts of panel p are in
  // sums[count][width][G][W].
  template <int width>
  FR_FN void cell(int64_t p, int64_t r, int count, const T* sums, const Place& place) {
    for (int i = 0; i < count; ++i) {
      for (int u = 0; u < width; ++u) {
        const int64_t unit = (p * kUnits + u) * W, lanes = p_.hidden - unit;
        const T* sum = sums + (i * width + u) * G * W;
        if (lanes >= W) {
          units(unit, AllLanes<T>{}, r + i, sum, place);
        } else if (lanes > 0) {
          units(unit, lanes, r + i, sum, place);
        }
      }
    }
  }

  template <class Lanes>
  FR_FN void units(int64_t unit, Lanes lanes, int64_t r, const T* sum, const Place& place) {
    const int64_t H = p_.hidden, at = r * H + unit;
    Vec<T> x[G], recurrent[G], tape[Cell::kTape + 1];
    for (int g = 0; g < G; ++g) {
      x[g] = load(place.xg + (r * G + g) * H + unit, lanes);
      recurrent[g] = load(sum + g * W);
    }
    State<Vec<T>> before{};
    if constexpr (Cell::kReadsBefore) before.h = load(place.h + at, lanes);
    if constexpr (Cell::kHasC) before.c = load(place.c + at, lanes);
    const State<Vec<T>> after = Cell::step(x, recurrent, before, tape);
    store(place.hidden + at, after.h, lanes);
    if constexpr (Cell::kHasC) {
      store(place.c + at, after.c, lanes);
      if (place.cells) store(place.cells + at, after.c, lanes);
    }
    if (Cell::kTape && place.tape) {
      for (int k = 0; k < Cell::kTape; ++k)
        store(place.tape + (r * Cell::kTape + k) * H + unit, tape[k], lanes);
    }
  }

  const Forward<T>& f_;
  const Problem<T>& p_;
  const bool packed_;
  const int64_t panels_;
  Buffer<T> weights_;              // [panels][out][V][W]
  Buffer<T> bias_;                 // [panels][V][W]
  PackedMatrix<T> projection_;     // weight_hr
  Buffer<T> projected_;            // [batch][hidden], h before the projection
  PackedMatrix<T> input_weights_;  // weight_ih
  bool gather_ = false;
  int64_t block_rows_ = 0;
  Buffer<T> block_;  // [threads][block_size]
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
