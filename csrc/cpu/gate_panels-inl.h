// How weights [gates * hidden][..], biases and pre-activations lie where a tile makes all gates of some
// units at once: in panels of kUnits vectors of units, in each first all gates of a vector of units,
// then those of the next. In the last panel of a cell with gates, where it has fewer units than a
// vector, the gates follow each other without gaps.
#pragma once
#include "cpu/dots-inl.h"
#include "cpu/matrix-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class T>
struct Gates {    // pre-activations of a panel: strides between gates, vectors of units and rows
  const T* data;  // null: zero; of_vector and of_row then want strides of 0
  int64_t gate, units, row;

  FR_FN Gates of_vector(int64_t u) const { return {data + u * units, gate, units, row}; }
  FR_FN Gates of_row(int64_t r) const { return {data + r * row, gate, units, row}; }
};

// A part of pre-activations: rows a @ w[..][k]^T + bias, which is zero where it is null.
template <class T, class S>
struct Summand {
  Left<S> a;
  const S* w;
  int64_t k;
  const T* bias;
};

template <class Cell, class T>
class GatePanels {
 public:
  static constexpr int W = kLanes<T>, G = Cell::kGates;
  static constexpr int kUnits = G > 1 ? 1 : kRegisters == 32 ? 4 : 2, V = G * kUnits;

  explicit GatePanels(int64_t hidden) : hidden_(hidden), count_(ceil_div(hidden, kUnits * W)) {}

  int64_t count() const { return count_; }
  int64_t row() const { return count_ * V * W; }  // values of a row of all panels
  // From a panel of k rows to the next.
  static int64_t stride(int64_t k) { return k * V * W; }

  int64_t hidden() const { return hidden_; }
  int64_t first_unit(int64_t p) const { return p * kUnits * W; }
  // Units of panel p, and vectors of all their gates.
  int64_t units(int64_t p) const { return min(kUnits * W, hidden_ - first_unit(p)); }
  int64_t width(int64_t p) const { return ceil_div(G * units(p), W); }

  // What lies at data, in rows so far apart, from panel p on.
  Gates<T> gates(int64_t p, const T* data, int64_t row) const {
    return {data, full(p) ? W : units(p), G * W, row};
  }

  // panel[k][width][W] from w[..][k].
  template <class S>
  void pack(int64_t p, const S* w, int64_t k, S* panel) const {
    const int64_t row = width(p) * W;
    for (int64_t v = 0; v < width(p); ++v) {
      const S* ahead = rows_after(p, v, w, k);
      full(p) ? pack_transposed(full_rows(p, v, w, k), k, panel + v * W, row, ahead)
              : pack_transposed(any_rows(p, v, w, k), k, panel + v * W, row, ahead);
    }
  }

  // panel[width][W] from the sum of two biases, null: zero.
  void pack_bias(int64_t p, const T* a, const T* b, T* panel) const {
    for (int64_t v = 0; v < width(p); ++v) store(panel + v * W, bias(p, v, a) + bias(p, v, b));
  }

  // Vector v of panel p of a bias, null: zero.
  FR_FN Vec<T> bias(int64_t p, int64_t v, const T* bias) const {
    if (!bias) return Vec<T>{};
    if (full(p)) return load(bias + row_behind(p, v, 0));
    Vec<T> result;
    for (int j = 0; j < W; ++j) result[j] = bias[row_behind(p, v, j)];
    return result;
  }

  // out[rows][V][W] = the sum of one or two summands for panel p, the weights as they lie, in vectors; rows of out
  // have a stride. All rows take a vector of units before the next, so that its weights come from L1, where they
  // fit, but for the first rows. If it `asks`, the weights of the next are asked for, a part with every few rows.
  template <class S>
  __attribute__((noinline)) void dots_of(int64_t p, int64_t rows, const Summand<T, S>* summands,
                                         int count, bool asks, Rows<T> out) const {
    const int64_t parts = min(kMostParts, ceil_div(rows, kRowsAtOnce));
    const bool whole = full(p);
    Dot<S> dot[kMaxTerms];
    const S* listed[kMaxTerms][W];
    for (int i = 0; i < count; ++i) {
      const Summand<T, S>& of = summands[i];
      dot[i] = {nullptr, whole ? nullptr : listed[i], of.a, of.k, nullptr};
    }
    for (int64_t v = 0; v < width(p); ++v) {
      Vec<T> bias{};
      for (int i = 0; i < count; ++i) {
        const Summand<T, S>& of = summands[i];
        bias += this->bias(p, v, of.bias);
        const auto row = any_rows(p, v, of.w, of.k);
        dot[i].weights = row(0);
        for (int j = 0; !whole && j < W; ++j) listed[i][j] = row(j);
        dot[i].a.data = of.a.data;
        dot[i].next = asks ? rows_after(p, v, of.w, of.k) : nullptr;
      }
      for (int64_t r = 0, part = 0; r < rows; r += kRowsAtOnce, ++part) {
        const int64_t asked = dot[0].next && part < parts ? parts : 0;
        const Rows<T> at{out.data + r * out.row + v * W, out.row};
        with_constant<kRowsAtOnce>(min(kRowsAtOnce, rows - r),
                                   [&](auto n) __attribute__((always_inline)) {
                                     leave_dots<n>(dot, count, asked, bias, at);
                                   });
        for (int i = 0; i < count; ++i) {
          dot[i].a.data += kRowsAtOnce * dot[i].a.row;
          if (asked) dot[i].next += W * dot[i].k / parts;
        }
      }
    }
  }

  // The same for one summand of many rows, packed: those of panel b of their transpose. A value of a weight at a time.
  template <class S>
  __attribute__((noinline)) void scalars_of(int64_t p, int64_t rows, const RightMatrix<S>& a,
                                            int64_t b, const S* w, int64_t k, const T* bias,
                                            bool asks, Rows<T> out) const {
    constexpr int64_t kRow = RightMatrix<T>::kColumns;
    alignas(64) T sums[W * kRow];  // of a vector of units
    const Gates<T> at = gates(p, nullptr, 0);
    for (int64_t v = 0; v < G * ceil_div(units(p), W); ++v) {
      const int64_t g = v % G, u = v / G, unit = first_unit(p) + u * W, row = g * hidden_ + unit;
      const int64_t n = min(W, hidden_ - unit);
      const S* next = asks ? rows_after(p, v, w, k) : nullptr;
      a.multiply_panel(b, n, {w + row * k, k}, {nullptr, 0}, {sums, kRow},
                       [&](int64_t r, int count, const void**) __attribute__((always_inline)) {
                         return with_part_of(next, W * k, k, r, count, n, Soon{});
                       });
      const Vec<T> start = bias ? load(bias + row, n) : Vec<T>{};
      for (int64_t r = 0; r < rows; r += W) {
        Vec<T> lanes[W];
        for (int j = 0; j < W; ++j) lanes[j] = j < n ? load(sums + j * kRow + r) : Vec<T>{};
        transpose<T>(lanes);
        for (int64_t j = 0; j < min(W, rows - r); ++j) {
          store(out.data + (r + j) * out.row + g * at.gate + u * at.units, start + lanes[j]);
        }
      }
    }
  }

 private:
  static constexpr int64_t kMostParts =
      kVectorBytes / 16;  // of less than a line they would overlap

  // out[R] = bias + the dot products, beside which one of so many parts is asked for (0: none).
  template <int R, class S>
  FR_FN static void leave_dots(const Dot<S>* dot, int count, int64_t parts, Vec<T> bias,
                               Rows<T> out) {
    Vec<T> sum[R];
    with_constant<kMostParts + 1>(
        parts + 1, [&](auto v) __attribute__((always_inline)) { dots<R, v - 1>(dot, count, sum); });
    for (int r = 0; r < R; ++r) store(out.data + r * out.row, bias + sum[r]);
  }

  bool full(int64_t p) const { return units(p) == kUnits * W; }

  // The row of a matrix, or the value of a bias, behind lane j of vector v of panel p; behind lanes
  // that are left over, the last.
  FR_FN int64_t row_behind(int64_t p, int64_t v, int64_t j) const {
    const int64_t unit = first_unit(p), n = units(p);
    if (full(p)) return v % G * hidden_ + unit + v / G * W + j;
    const int64_t i = min(v * W + j, G * n - 1);
    return i / n * hidden_ + unit + i % n;
  }
  // That row of w[..][k] by its lane, where a panel has all its units, and where it may not.
  template <class S>
  FR_FN auto full_rows(int64_t p, int64_t v, const S* w, int64_t k) const {
    const S* first = w + row_behind(p, v, 0) * k;
    return [=](int64_t j) __attribute__((always_inline)) { return first + j * k; };
  }
  template <class S>
  FR_FN auto any_rows(int64_t p, int64_t v, const S* w, int64_t k) const {
    return [=, this](int64_t j)
               __attribute__((always_inline)) { return w + row_behind(p, v, j) * k; };
  }
  // Those of the vector after vector v of panel p, where they lie one after the other, else null.
  template <class S>
  FR_FN const S* rows_after(int64_t p, int64_t v, const S* w, int64_t k) const {
    const bool same = v + 1 < width(p);
    const int64_t next = same ? p : p + 1;
    return full(next) ? w + row_behind(next, same ? v + 1 : 0, 0) * k : nullptr;
  }

  const int64_t hidden_, count_;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
