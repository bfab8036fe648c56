// Right operands as panels [k][V][lanes], and the memory they live in. Lanes beyond the matrix hold
// something that nobody reads.
#pragma once
#include "cpu/bfloat16-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class T>
class Buffer {  // aligned, uninitialised
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { allocate(size); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != own_) operator delete(data_, kAlign);
  }
  void allocate(int64_t size) {  // at most once
    if (size <= 0) return;
    data_ = own_;
    if (size <= kOwn) return;
    const size_t bytes = size * sizeof(T);
    data_ = static_cast<T*>(operator new(bytes, kAlign));
    prefer_huge_pages(data_, bytes);
  }
  operator T*() const { return data_; }

 private:
  static constexpr std::align_val_t kAlign{64};
  static constexpr int64_t kOwn = 512 / sizeof(T);  // of a small step
  T* data_ = nullptr;
  alignas(64) T own_[kOwn];
};

// One vector of a panel from as many rows: panel[i][j] = row(j)[i]. Rows are short and many, and the
// processor does not see from where it will go on: `ahead`, if not null, are as many rows that do lie
// one after the other.
template <class T, class Row>
FR_FN void pack_transposed(Row row, int64_t k, T* panel, int64_t panel_row, const T* ahead) {
  constexpr int W = kLanes<T>;
  for (int64_t i = 0; i < k; i += W) {
    const int64_t n = min(W, k - i);
    if (ahead) prefetch(ahead + i * W, n * W);
    Vec<T> rows[W];
    for (int j = 0; j < W; ++j) rows[j] = load(row(j) + i, n);
    transpose<T>(rows);
    for (int64_t j = 0; j < to_depth<T>(n); ++j) store(panel + (i + j) * panel_row, rows[j]);
  }
}

// Panel of columns [column, column + V * lanes) of w[k][columns], taken as it is; row(i) is row i
// of w. The columns after them come next.
template <int V, class T, class Row>
FR_FN void pack_columns(Row row, int64_t k, int64_t columns, int64_t column, T* panel) {
  constexpr int W = kLanes<T>;
  for (int64_t i = 0; i < k; ++i) {
    const T* source = row(i);
    prefetch(source + column + V * W, min(V * W, columns - column - V * W));
    for (int v = 0; v < V; ++v) {
      const int64_t first = column + v * W, n = columns - first;
      store(panel + (i * V + v) * W, n > 0 ? load(source + first, n) : Vec<T>{});
    }
  }
}

// The same from rows of bfloat16, of which two become a row of the panel; row(i) is null beyond the last.
template <int V, class Row>
FR_FN void pack_columns(Row row, int64_t k, int64_t columns, int64_t column, BFloat16Pair* panel) {
  constexpr int64_t W = kLanes<float>;
  for (int64_t i = 0; i < to_depth<BFloat16Pair>(k); ++i) {
    const BFloat16Pair *first = row(2 * i), *second = row(2 * i + 1);
    for (int v = 0; v < V; ++v) {
      const int64_t at = column + v * W, n = min(W, columns - at);
      store(panel + (i * V + v) * W,
            first && n > 0 ? pairs_of(first, second, at, n) : Vec<BFloat16Pair>{});
    }
  }
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
