// The gradient of a weight: out[m][n] = the sum over all rows of a[row][m] * b[row][n], with the
// same tile, both operands packed a block of rows at a time. Where rows are few the sums are short, and
// writing out takes the time: then a and b are read as they lie, and out is written row after row.
// Threads share the m, never the sum.
#pragma once
#include "cpu/matrix-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class S>
struct OuterRow {
  const S *a, *b;  // [m], [n]
};

template <class S>
class OuterProduct {
  using T = Sum<S>;
  static constexpr int W = kLanes<T>, V = kMatrixVectors;
  static constexpr int64_t kColumns = V * W;  // of a panel of b
  // Vectors of m at a time: 16 values are tiles of 6, 5 and 5.
  static constexpr int U = kAmx ? 2 : W < 16 ? 16 / W : 1;
  static constexpr int kRows = U * W;
  // Whether a is packed as rows of pairs, with zeros up to depth, not [k][kRows].
  static constexpr bool kTurned = kDepth<S> > 1;
  // Rows packed at once: fewer where a row is so wide that they would take more than 8 MB.
  static constexpr int64_t kBlock = 256, kFewest = 16, kBytes = 8 * 1024 * 1024;
  // Few rows: fewer than leave registers for two m at once (write_all); 14 lose where b is narrow.
  static constexpr int kFew = kRegisters == 32 ? 12 : 6;
  static constexpr int64_t kShort = 64;  // k of a sum that is short
  // A turn of a tile's loop asks for as much as the tile writes of one row.
  static constexpr bool kAsksBelow =
      kAsksForNextPanel && V * kVectorBytes == kLinesATurn * kLineBytes;

 public:
  OuterProduct(const Step* steps, int64_t num_steps, int64_t rows, int64_t m, int64_t n)
      : steps_(steps),
        num_steps_(num_steps),
        m_(m),
        n_(n),
        panels_(ceil_div(n, kColumns)),
        block_(min(max(rows, 1),
                   min(kBlock, max(kFewest, kBytes / (max(panels_, 1) * V * kVectorBytes))))) {}

  // Memory for a team of `count`; each thread packs for itself.
  void allocate(int count) { packed_.allocate(count * packed_size()); }

  // This thread's vectors of m. row(s, b) is the OuterRow of sequence b at step s; out[m][n] and
  // sums[m], the sum of all a, may each be null.
  template <class Row>
  void run(int thread, int count, T* out, T* sums, Row row) {
    const auto [first, last] = share(ceil_div(m_, W), thread, count);
    if (first == last) return;
    S* packed = packed_ + thread * packed_size();
    bool begun = false;
    const S *a[kBlock], *b[kBlock];
    int64_t filled = 0;
    for (int64_t s = 0; s < num_steps_; ++s) {
      for (int64_t i = 0; i < steps_[s].size; ++i) {
        const OuterRow<S> pair = row(s, i);
        a[filled] = pair.a, b[filled] = pair.b;
        if (++filled < block_) continue;
        add(a, b, filled, first, last, out, sums, begun, packed);
        filled = 0;
        begun = true;
      }
    }
    if (filled || !begun) add(a, b, filled, first, last, out, sums, begun, packed);
  }

 private:
  void add(const S* const* a, const S* const* b, int64_t rows, int64_t first, int64_t last, T* out,
           T* sums, bool begun, S* packed) {
    if (out && !begun && 0 < rows && rows <= kFew) {
      for (int64_t v = first; sums && v < last; ++v) {
        pack_vectors<1>(a, rows, v * W, sums + v * W, begun, nullptr);
      }
      return with_constant<kFew>(rows, [&](auto r) __attribute__((always_inline)) {
        write_all<r>(a, b, first * W, min(last * W, m_), out);
      });
    }
    S *packed_a = packed, *packed_b = packed + to_depth<S>(block_) * kRows;
    const int64_t k = to_depth<S>(ceil_div(rows, kValues<S>));
    for (int64_t p = 0; out && p < panels_; ++p) {
      with_constant<V>(vectors(p), [&](auto v) __attribute__((always_inline)) {
        const auto row = [&](int64_t i)
                             __attribute__((always_inline)) { return i < rows ? b[i] : nullptr; };
        pack_columns<v>(row, k, n_, p * kColumns, packed_b + p * k * kColumns);
      });
    }
    for (int64_t v = first; v < last; v += U) {
      const int64_t m = v * W, count = min(kRows, min(last * W, m_) - m);
      with_constant<U>(ceil_div(count, W), [&](auto width) __attribute__((always_inline)) {
        pack_vectors<width>(a, rows, m, offset(sums, m), begun, packed_a);
      });
      if (out) {
        add_rows(k, count, min(last * W, m_) - m, out + m * n_, begun, packed_a, packed_b);
      }
    }
  }

  // out[m][..] for m in [first, last), of R rows in all.
  template <int R>
  __attribute__((noinline)) void write_all(const S* const* a, const S* const* b, int64_t first,
                                           int64_t last, T* out) const {
    constexpr int kFit = (kRegisters - 2) / (R + 1), kAtOnce = kFit < 4 ? kFit : 4;
    int64_t m = first;
    for (; m + kAtOnce <= last; m += kAtOnce) write<R, kAtOnce>(a, b, m, out + m * n_);
    for (; m < last; ++m) write<R, 1>(a, b, m, out + m * n_);
  }

  // M rows of out, from m on.
  template <int R, int M>
  FR_FN void write(const S* const* a, const S* const* b, int64_t m, T* out) const {
    const int64_t size = n_;
    const S* row[R];
    Vec<T> x[R][M];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      row[r] = b[r];
#pragma GCC unroll 4
      for (int i = 0; i < M; ++i) x[r][i] = splat<Vec<T>>(value_of(a[r], m + i));
    }
    const auto columns = [&](int64_t n, auto lanes) __attribute__((always_inline)) {
      Vec<T> sum[M] = {};
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        Vec<T> y = load_from(row[r], n, lanes);
        keep_in_register<M>(y);
#pragma GCC unroll 4
        for (int i = 0; i < M; ++i) sum[i] += x[r][i] * y;
      }
#pragma GCC unroll 4
      for (int i = 0; i < M; ++i) store(out + i * size + n, sum[i], lanes);
    };
    int64_t n = 0;
    for (; n + W <= size; n += W) columns(n, AllLanes<T>{});
    if (n < size) columns(n, size - n);
  }

  // packed[i] = `width` vectors of a[i], from m on, or pairs of two rows; or its transpose. Adds their sum to
  // `sums`. Either may be null.
  template <int width>
  void pack_vectors(const S* const* a, int64_t rows, int64_t m, T* sums, bool begun, S* packed) {
    const int64_t valid = m_ - m;
    Vec<T> total[width] = {};
    if constexpr (kValues<S> == 2) {
      const auto pair = [&](int64_t i,
                            int v) __attribute__((always_inline)) {  // of rows i and i + 1
        const S* second = i + 1 < rows ? a[i + 1] : nullptr;
        const Vec<S> x = pairs_of(a[i], second, m + v * W, min(W, max(valid - v * W, 0)));
        total[v] += lower_of(x) + upper_of(x);
        return x;
      };
      const int64_t k = to_depth<S>(ceil_div(rows, 2));
      for (int64_t first = 0; first < k; first += kTurned ? W : 1) {
        for (int v = 0; v < width; ++v) {
          if constexpr (kTurned) {
            Vec<S> pairs[W];
            for (int64_t j = 0; j < W; ++j) {
              const int64_t i = 2 * (first + j);
              pairs[j] = i < rows ? pair(i, v) : Vec<S>{};
            }
            transpose<S>(pairs);
            for (int j = 0; packed && j < W; ++j) {
              store(packed + (v * W + j) * k + first, pairs[j]);
            }
          } else {
            const Vec<S> x = pair(2 * first, v);
            if (packed) store(packed + first * kRows + v * W, x);
          }
        }
      }
    } else {
      for (int64_t i = 0; i < rows; ++i) {
        prefetch(a[i] + m + width * W, min(width * W, valid - width * W));
#pragma GCC unroll 8
        for (int v = 0; v < width; ++v) {
          const Vec<T> x = load(a[i] + m + v * W, valid - v * W);
          if (packed) store(packed + i * kRows + v * W, x);
          total[v] += x;
        }
      }
    }
    if (!sums) return;
#pragma GCC unroll 8
    for (int v = 0; v < width; ++v) {
      const int64_t n = valid - v * W;
      store(sums + v * W, begun ? load(sums + v * W, n) + total[v] : total[v], n);
    }
  }

  int64_t packed_size() const { return to_depth<S>(block_) * (kRows + panels_ * kColumns); }

  int64_t vectors(int64_t p) const { return min(V, ceil_div(n_ - p * kColumns, W)); }

  // out[count][n] (+)= packed_a^T @ packed_b; out has `left` rows from here on. Where sums are short, the tile to the
  // right follows, not the one below: so memory is written from where it ended, if that reads no more of b than stays
  // in L2.
  void add_rows(int64_t k, int64_t count, int64_t left, T* out, bool begun, const S* packed_a,
                const S* packed_b) {
    const int64_t whole_panels = n_ / kColumns, size = k * kColumns;  // of a panel
    const bool is_short =
        !kAmx && k <= kShort && panels_ * size * int64_t{sizeof(S)} <= kL2Bytes / 4;
    const int64_t at_once = is_short ? whole_panels : 1;
    for (int64_t p = 0; p < whole_panels; p += at_once) {
      for_tiles(kTileRows<V>, count, [&](int64_t r, int rows) __attribute__((always_inline)) {
        const bool asks_below = kAsksBelow && is_short && r + rows + k / kUnrolled <= left;
        for (int64_t i = p; i < p + at_once; ++i) {
          const Rows<T> to{out + r * n_ + i * kColumns, n_};
          const void* at[kMaxRows];
          Soon soon = is_short ? Soon{} : result_rows<V>(rows, to, at);
          if (asks_below) {  // for a row with every turn of the tile's loop
            soon.line = reinterpret_cast<const char*>(to.data + rows * n_);
            soon.step = n_ * static_cast<int64_t>(sizeof(T));
          }
          add_tile<V>(rows, k, to, begun, packed_a, r, packed_b + i * size, soon);
        }
      });
    }
    if (whole_panels == panels_) return;
    with_constant<V>(vectors(whole_panels), [&](auto v) __attribute__((always_inline)) {
      add_last_panel<v>(k, count, out + whole_panels * kColumns, begun, packed_a,
                        packed_b + whole_panels * size, is_short);
    });
  }

  // The panel that ends where out does, or beyond.
  template <int v>
  void add_last_panel(int64_t k, int64_t count, T* out, bool begun, const S* packed_a,
                      const S* packed_b, bool is_short) {
    const int64_t columns = n_ % kColumns;
    const bool fits = columns == v * W;
    alignas(64) T edge[kRows * v * W];
    for (int64_t i = 0; !fits && begun && i < count; ++i) {
      copy(edge + i * v * W, out + i * n_, columns);
    }
    const Rows<T> result = fits ? Rows<T>{out, n_} : Rows<T>{edge, v * W};
    for_tiles(kTileRows<v>, count, [&](int64_t r, int rows) __attribute__((always_inline)) {
      const Rows<T> to{result.data + r * result.row, result.row};
      const void* at[kMaxRows];
      add_tile<v>(rows, k, to, begun, packed_a, r, packed_b,
                  is_short ? Soon{} : result_rows<v>(rows, to, at));
    });
    for (int64_t i = 0; !fits && i < count; ++i) copy(out + i * n_, edge + i * v * W, columns);
  }

  // out[rows][v * W] (+)= rows of packed_a^T, from `first` on, @ the panel
  template <int v>
  FR_FN void add_tile(int rows, int64_t k, Rows<T> out, bool begun, const S* packed_a,
                      int64_t first, const S* panel, const Soon& soon) {
    const int64_t row = kTurned ? k : 1;
    const Term<S, kTurned ? 1 : kRows> term{{packed_a + first * row, row}, {panel, v * W}, k};
    tile<v>(rows, &term, 1, {begun ? out.data : nullptr, out.row}, out, soon);
  }

  const Step* steps_;
  const int64_t num_steps_, m_, n_, panels_, block_;
  // [threads]([depth of rows][kRows] of a, or turned, then [panels][depth of rows][V][W] of b)
  Buffer<S> packed_;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
