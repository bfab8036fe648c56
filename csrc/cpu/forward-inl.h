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
#ifndef KJ
#define KJ 8
#endif
constexpr int64_t kJoined = KJ;

template <class Cell, class T>
class ForwardPass {
  static constexpr int W = kLanes<T>, G = Cell::kGates;
  static constexpr int kUnits = G > 1 ? 1 : kRegisters == 32 ? 4 : 2, V = G * kUnits;

  // A block of projected rows: 256 KB of gates, but enough rows for the tile; and what of its input
  // has to be gathered at most 4 MB.
  static constexpr int64_t kGateBytes = 256 * 1024, kInputBytes = 4 * 1024 * 1024, kTileFull = 64;

  struct Place {                   // where a row of a step reads and writes
    const T *h, *x, *xg;           // of the input, x where it is multiplied in the same tile, or xg
    T *c, *hidden, *cells, *tape;  // cells, tape: null in inference
  };

 public:
  explicit ForwardPass(const Forward<T>& args)
      : f_(args),
        p_(args.problem),
        packed_(p_.batch > 1 && p_.rows > kFewRows),
        joined_(packed_ && !args.xg && p_.batch >= kJoined),
        panels_(ceil_div(p_.hidden, kUnits * W)),
        panel_(((joined_ ? args.in : 0) + p_.out) * V * W),
        weights_(packed_ ? panels_ * panel_ : 0),
        bias_x_(panels_ * V * W),
        bias_(panels_ * V * W),
        projection_(p_.hidden, p_.weight_hr ? p_.out : 0),
        projected_(p_.weight_hr ? p_.batch * p_.hidden : 0),
        input_weights_(args.in, args.xg || joined_ ? 0 : G * p_.hidden) {}

  // Memory for a team of `count`. One thread has all sequences, whose rows lie together already.
  void allocate(int count) {
    if (f_.xg || joined_) return;
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
      const int64_t width = unit_vectors(p) * G, in = joined_ ? f_.in : 0;
      for (int64_t v = 0; v < width; ++v) {
        const int64_t unit = (p * kUnits + v / G) * W, valid = p_.hidden - unit;
        const int64_t row = v % G * p_.hidden + unit, at = (p * V + v) * W;
        store(bias_x_ + at, joined_ && f_.bias_ih ? load(f_.bias_ih + row, valid) : Vec<T>{});
        store(bias_ + at, f_.bias_hh ? load(f_.bias_hh + row, valid) : Vec<T>{});
        if (joined_ && Cell::kSameGates) store(bias_ + at, load(bias_ + at) + load(bias_x_ + at));
        T* panel = weights_ + p * panel_ + v * W;
        if (joined_) pack_transposed(f_.weight_ih + row * in, valid, in, panel, width * W);
        if (packed_) {
          pack_transposed(p_.weight_hh + row * p_.out, valid, p_.out, panel + in * width * W,
                          width * W);
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
      if (!f_.xg && !joined_ && s >= block.end) project(s, first, last, block);
      const T* xg = joined_ ? nullptr
                    : f_.xg ? f_.xg + (step.row + first) * G * H
                            : block.gates + (gather_ ? block.used : step.row - block.row) * G * H;
      block.used += end - first;
      const int64_t starting = max(first, min(end, step.kept));
      if (first < starting) {
        rows(first, starting, step, f_.output + p_.steps[s - 1].row * out, xg, s & 1);
      }
      if (starting < end) {
        rows(starting, end, step, p_.h_0, xg ? xg + (starting - first) * G * H : xg, s & 1);
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
                      f_.input ? f_.input + row * f_.in : nullptr,
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
      constexpr int64_t row = width * W;
      alignas(64) T sums[kTileRows<width> * row], inputs[kTileRows<width> * row];
      const Rows<const T> bias{bias_ + p * V * W, 0}, bias_x{bias_x_ + p * V * W, 0};
      const T *w_x = weights_ + p * panel_, *w_h = w_x + (joined_ ? f_.in * row : 0);
      for_tiles<width>(n, [&](int64_t r, int count) __attribute__((always_inline)) {
        const Term<T> recurrent{{place.h + r * p_.out, p_.out, 1}, w_h, p_.out};
        if (!joined_) {
          tile<width>(count, {recurrent}, bias, {sums, row});
          return cell<u>(
              p, r, count, sums,
              {place.xg + r * G * p_.hidden + p * kUnits * W, p_.hidden, W, G * p_.hidden}, place);
        }
        const Term<T> input{{place.x + r * f_.in, f_.in, 1}, w_x, f_.in};
        if constexpr (Cell::kSameGates) {
          tile<width>(count, {input, recurrent}, bias, {sums, row});
          cell<u>(p, r, count, sums, {nullptr, 0, 0, 0}, place);
        } else {
          tile<width>(count, {input}, bias_x, {inputs, row});
          tile<width>(count, {recurrent}, bias, {sums, row});
          cell<u>(p, r, count, sums, {inputs, W, G * W, row}, place);
        }
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
      const Vec<T> bias = load(bias_ + p * V * W + v * W);
      for (int i = 0; i < R; ++i) store(sums + (i * V + v) * W, bias + sum[i]);
    }
    cell<kUnits>(p, r, R, sums,
                 {place.xg + r * G * p_.hidden + p * kUnits * W, p_.hidden, W, G * p_.hidden},
                 place);
  }

  struct Inputs {  // the input's part of gates
    const T* data;
    int64_t gate, units, row;
  };

  // The cell for `count` rows from r on, whose recurrent parts of panel p are in
  // sums[count][width][G][W].
  template <int width>
  FR_FN void cell(int64_t p, int64_t r, int count, const T* sums, Inputs inputs,
                  const Place& place) {
    for (int i = 0; i < count; ++i) {
      for (int u = 0; u < width; ++u) {
        const int64_t unit = (p * kUnits + u) * W, lanes = p_.hidden - unit;
        const T* sum = sums + (i * width + u) * G * W;
        const Inputs x{inputs.data + i * inputs.row + u * inputs.units, inputs.gate, 0, 0};
        if (lanes >= W) {
          units(unit, AllLanes<T>{}, r + i, sum, inputs.data ? x : inputs, place);
        } else if (lanes > 0) {
          units(unit, lanes, r + i, sum, inputs.data ? x : inputs, place);
        }
      }
    }
  }

  template <class Lanes>
  FR_FN void units(int64_t unit, Lanes lanes, int64_t r, const T* sum, Inputs inputs,
                   const Place& place) {
    const int64_t H = p_.hidden, at = r * H + unit;
    Vec<T> x[G], recurrent[G], tape[Cell::kTape + 1];
    for (int g = 0; g < G; ++g) {
      x[g] = inputs.data ? load(inputs.data + g * inputs.gate, lanes) : Vec<T>{};
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
  const bool packed_, joined_;
  const int64_t panels_, panel_;
  Buffer<T> weights_;              // [panels][in if joined, + out][V][W]
  Buffer<T> bias_x_, bias_;        // [panels][V][W]
  PackedMatrix<T> projection_;     // weight_hr
  Buffer<T> projected_;            // [batch][hidden], h before the projection
  PackedMatrix<T> input_weights_;  // weight_ih
  bool gather_ = false;
  int64_t block_rows_ = 0;
  Buffer<T> block_;  // [threads][block_size]
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
