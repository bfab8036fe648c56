// A right operand of products in panels of V vectors of columns; the last may have fewer. Panels are
// packed, or columns of a matrix that is used as it lies.
#pragma once
#include "cpu/pack-inl.h"
#include "cpu/regime-inl.h"
#include "cpu/tile-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class S>
class RightMatrix {
  using T = Sum<S>;

 public:
  static constexpr int V = kMatrixVectors;
  static constexpr int64_t W = kLanes<T>, kColumns = V * W;  // of a panel

  // With the matrix, [k][columns], it is used as it lies, if its panels end where its columns do.
  RightMatrix(int64_t k, int64_t columns, const S* matrix = nullptr)
      : k_(k),
        columns_(columns),
        panels_(ceil_div(columns, kColumns)),
        matrix_(columns % W ? nullptr : matrix),
        packed_(matrix_ ? 0 : panels_ * to_depth<S>(k) * kColumns) {}

  int64_t panels() const { return panels_; }
  // Whether it is used as it lies, and so large that to read its panels one by one, short rows far apart, costs more than
  // to add up parts.
  bool in_parts() const { return matrix_ && k_ * columns_ * int64_t{sizeof(S)} >= kL2Bytes / 2; }
  bool asks_for_next(int threads, int64_t rows) const {
    return !matrix_ && asks_for_next_panel(threads, rows, k_ * columns_ * int64_t{sizeof(S)});
  }

  // The share of one thread of `count`, from w[k][columns], where pairs are multiplied from w[2 k][columns], or from
  // its transpose w[columns][k].
  __attribute__((noinline)) void pack(const S* w, int thread, int count) {
    if (matrix_) return;
    const Range mine = share(panels_, thread, count);
    for (int64_t p = mine.first; p < mine.last; ++p) {
      with_constant<V>(vectors(p), [&](auto v) __attribute__((always_inline)) {
        const auto row = [&](int64_t i) __attribute__((always_inline)) {
          return i < kValues<S> * k_ ? w + i * (columns_ / kValues<S>) : nullptr;
        };
        pack_columns<v>(row, k_, columns_, p * kColumns, panel(p));
      });
    }
  }
  __attribute__((noinline)) void pack_transpose_of(const S* w, int thread, int count) {
    const Range mine = share(panels_, thread, count);
    for (int64_t p = mine.first; p < mine.last; ++p) {
      for (int64_t v = 0; v < vectors(p); ++v) {
        const int64_t column = p * kColumns + v * W;
        pack_transposed(
            [&](int64_t j)
                __attribute__((always_inline)) { return w + min(column + j, columns_ - 1) * k_; },
            k_, panel(p) + v * W, vectors(p) * W,
            column + 2 * W <= columns_ ? w + (column + W) * k_ : nullptr);
      }
    }
  }

  // out[rows][W * its vectors] = init + a[rows][k] @ panel p; `soon` as in multiply, `next` is the panel to
  // ask for, -1: none.
  template <class F>
  void multiply_panel(int64_t p, int64_t rows, Rows<const S> a, Rows<const T> init, Rows<T> out,
                      const F& soon, int64_t next = -1) const {
    with_constant<V>(vectors(p), [&](auto v) __attribute__((always_inline)) {
      const Panel<S> b =
          matrix_ ? Panel<S>{matrix_ + p * kColumns, columns_} : Panel<S>{panel(p), v * W};
      multiply<v>(rows, Left<S>{a.data, a.row}, b, k_, init, out, soon,
                  next < 0 ? nullptr : panel(next));
    });
  }

  // The same for some panels of a matrix that is used as it lies, which all take a part of k before the next, and ask for
  // that where they are all: so its rows are read from end to end. Rows of init and out are whole ones.
  __attribute__((noinline)) void multiply_in_parts(Range panels, int64_t rows, Rows<const S> a,
                                                   Rows<const T> init, Rows<T> out) const {
    constexpr int64_t kBytes = 128 * 1024, kFewest = 64;
    const int64_t row_bytes = columns_ * static_cast<int64_t>(sizeof(S));
    const int64_t fit = kBytes / max(row_bytes, 1) / kUnrolled * kUnrolled;
    const int64_t most = min(max(kFewest, fit), kSummands);
    int64_t first = 0;
    do {
      const int64_t n = min(most, k_ - first), after = first + n;
      const S *part = matrix_ + first * columns_, *next = part + n * columns_;
      const bool asks = kUnrollsInPlace && after < k_ && panels.last - panels.first == panels_;
      const int64_t of_next = min(most, k_ - after) * columns_ / max(panels_, 1);
      const Rows<const T> start = first ? Rows<const T>{out.data, out.row} : init;
      for (int64_t p = panels.first; p < panels.last; ++p) {
        const int64_t column = p * kColumns;
        const S* asked = asks ? next + p * of_next : nullptr;
        with_constant<V>(vectors(p), [&](auto v) __attribute__((always_inline)) {
          for_tiles(kTileRows<v>, rows, [&](int64_t r, int count) __attribute__((always_inline)) {
            const Term<S> term{{a.data + r * a.row + first, a.row}, {part + column, columns_}, n};
            tile<v>(count, &term, 1, {offset(start.data, r * start.row + column), start.row},
                    {out.data + r * out.row + column, out.row},
                    with_part_of(asked, of_next, n, r, count, rows, Soon{}));
          });
        });
      }
      first = after;
    } while (first < k_);
  }

  // out[rows][columns] = init + a[rows][k] @ the matrix; out may be of pairs.
  template <class Out>
  void multiply_all(int64_t rows, const S* a, Rows<const T> init, Out* out) const {
    constexpr bool kDirect = std::is_same_v<Out, T>;
    if constexpr (kDirect && kValues<S> == 1) {
      if (in_parts()) {
        return multiply_in_parts({0, panels_}, rows, {a, k_}, init, {out, columns_});
      }
    }
    alignas(64) T edge[kTileRows<V> * kColumns];
    for (int64_t p = 0; p < panels_; ++p) {
      const int64_t column = p * kColumns, width = columns_ - column;
      const T* start = offset(init.data, column);
      if constexpr (kDirect) {
        if (width >= kColumns) {
          const Rows<T> result{out + column, columns_};
          multiply_panel(p, rows, {a, k_}, {start, init.row}, result,
                         [&](int64_t r, int n, const void** at) __attribute__((always_inline)) {
                           return result_rows<V>(n, Rows<T>{result.data + r * columns_, columns_},
                                                 at);
                         });
          continue;
        }
      }
      for (int64_t r = 0; r < rows; r += kTileRows<V>) {
        const int64_t n = min(kTileRows<V>, rows - r);
        for (int64_t i = 0; start && i < n; ++i) {
          copy(edge + i * kColumns, start + (r + i) * init.row, min(width, kColumns));
        }
        multiply_panel(p, n, {a + r * k_, k_}, {start ? edge : nullptr, kColumns}, {edge, kColumns},
                       kNothingSoon);
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t v = 0; v < min(width, kColumns); v += W) {
            store_to(out, (r + i) * columns_ + column + v, load(edge + i * kColumns + v),
                     width - v);
          }
        }
      }
    }
  }

 private:
  int64_t vectors(int64_t p) const { return min(V, ceil_div(columns_ - p * kColumns, W)); }
  S* panel(int64_t p) const { return packed_ + p * to_depth<S>(k_) * kColumns; }

  const int64_t k_, columns_, panels_;
  const S* const matrix_;  // null: packed
  Buffer<S> packed_;       // [panels][k][V][W]
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
