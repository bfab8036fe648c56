// Right operands as panels [k][V][lanes], zero where a panel reaches beyond the matrix, and the
// memory they live in.
#pragma once
#include "cpu/simd-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class T>
class Buffer {  // aligned, uninitialised
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { allocate(size); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { operator delete(data_, kAlign); }
  void allocate(int64_t size) {  // at most once
    if (size > 0) data_ = static_cast<T*>(operator new(size * sizeof(T), kAlign));
  }
  operator T*() const { return data_; }

 private:
  static constexpr std::align_val_t kAlign{64};
  T* data_ = nullptr;
};

// Column vector v of a panel from rows of w: panel[i][v][j] = w[j][i], for the `valid` rows that
// exist.
template <class T>
FR_FN void pack_transposed(const T* w, int64_t valid, int64_t k, T* panel, int64_t panel_row) {
  constexpr int W = kLanes<T>;
  for (int64_t i = 0; i < k; i += W) {
    const int64_t n = min(W, k - i);
    Vec<T> rows[W];
    for (int j = 0; j < W; ++j) rows[j] = j < valid ? load(w + j * k + i, n) : Vec<T>{};
    transpose<T>(rows);
    for (int64_t j = 0; j < n; ++j) store(panel + (i + j) * panel_row, rows[j]);
  }
}

// Panel of columns [column, column + V * lanes) of w[k][columns], taken as it is; row(i) is row i
// of w.
template <int V, class T, class Row>
FR_FN void pack_columns(Row row, int64_t k, int64_t columns, int64_t column, T* panel) {
  constexpr int W = kLanes<T>;
  for (int64_t i = 0; i < k; ++i) {
    const T* source = row(i);
    for (int v = 0; v < V; ++v) {
      const int64_t first = column + v * W, n = columns - first;
      store(panel + (i * V + v) * W, n > 0 ? load(source + first, n) : Vec<T>{});
    }
  }
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
