// A right operand of products, packed as panels of V vectors of columns; the last may have fewer.
#pragma once
#include "cpu/pack-inl.h"
#include "cpu/tile-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

struct Range {
  int64_t first, last;
};
// The part of [0, n) that one thread of `count` has.
FR_FN Range share(int64_t n, int thread, int count) {
  return {n * thread / count, n * (thread + 1) / count};
}

template <class T>
class PackedMatrix {
 public:
  static constexpr int V = kRegisters == 32 ? 4 : 2;
  static constexpr int64_t W = kLanes<T>, kColumns = V * W;  // of a panel

  PackedMatrix(int64_t k, int64_t columns)
      : k_(k),
        columns_(columns),
        panels_(ceil_div(columns, kColumns)),
        data_(panels_ * k * kColumns) {}

  int64_t panels() const { return panels_; }

  // The share of one thread of `count`, from w[k][columns], or from its transpose w[columns][k].
  void pack(const T* w, int thread, int count) {
    for (int64_t p = panels_ * thread / count; p < panels_ * (thread + 1) / count; ++p) {
      with_constant<V>(vectors(p), [&](auto v) __attribute__((always_inline)) {
        pack_columns<v>([&](int64_t i) __attribute__((always_inline)) { return w + i * columns_; },
                        k_, columns_, p * kColumns, panel(p));
      });
    }
  }
  void pack_transpose_of(const T* w, int thread, int count) {
    for (int64_t p = panels_ * thread / count; p < panels_ * (thread + 1) / count; ++p) {
      for (int64_t v = 0; v < vectors(p); ++v) {
        const int64_t column = p * kColumns + v * W;
        pack_transposed(w + column * k_, columns_ - column, k_, panel(p) + v * W, vectors(p) * W);
      }
    }
  }

  // out[rows][W * its vectors] = init + a[rows][k] @ panel p
  void multiply_panel(int64_t p, int64_t rows, const T* a, Rows<const T> init, Rows<T> out) const {
    with_constant<V>(vectors(p), [&](auto v) __attribute__((always_inline)) {
      multiply<v>(rows, Left<T>{a, k_, 1}, panel(p), k_, init, out);
    });
  }

  // out[rows][columns] = bias + a[rows][k] @ the matrix; bias[columns] or null.
  void multiply_all(int64_t rows, const T* a, const T* bias, T* out) const {
    alignas(64) T edge[kTileRows<V> * kColumns], padded[kColumns];
    for (int64_t p = 0; p < panels_; ++p) {
      const int64_t column = p * kColumns, width = columns_ - column;
      Rows<const T> init{bias ? bias + column : nullptr, 0};
      if (width >= kColumns) {
        multiply_panel(p, rows, a, init, {out + column, columns_});
        continue;
      }
      if (bias) {
        __builtin_memcpy(padded, bias + column, width * sizeof(T));
        init.data = padded;
      }
      for (int64_t r = 0; r < rows; r += kTileRows<V>) {
        const int64_t n = min(kTileRows<V>, rows - r);
        multiply_panel(p, n, a + r * k_, init, {edge, kColumns});
        for (int64_t i = 0; i < n; ++i) {
          __builtin_memcpy(out + (r + i) * columns_ + column, edge + i * kColumns,
                           width * sizeof(T));
        }
      }
    }
  }

 private:
  int64_t vectors(int64_t p) const { return min(V, ceil_div(columns_ - p * kColumns, W)); }
  T* panel(int64_t p) const { return data_ + p * k_ * kColumns; }

  const int64_t k_, columns_, panels_;
  Buffer<T> data_;  // [panels][k][V][W]
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
