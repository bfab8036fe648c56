// The one register tile of every matrix product here (on AMX amx-inl.h's): R rows by V vectors of accumulators,
//     out[r][v] = init[r][v] + sum over terms and k of a[r][k] * panel[k][v],
// summed in one order whatever R is, so that how rows are split changes no bit of the result.
#pragma once
#include "cpu/amx-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

constexpr int kMaxRows = kAmx ? 32 : 8;
// Rows of a tile of V vectors, so that accumulators, panel and one broadcast value fill the
// registers. Measured on AVX-512: 6 x 4 and 8 x 3 run at 99% of peak; on AVX2: 3 x 4, 4 x 3, 6 x 2.
template <int V>
constexpr int kTileRows = kAmx               ? kMaxRows
                          : kRegisters == 32 ? (V >= 4 ? 6 : 8)
                                             : (V >= 4   ? 3
                                                : V == 3 ? 4
                                                : V == 2 ? 6
                                                         : 8);

// Vectors of columns in a panel of a matrix (matrix-inl.h), which may be used as it lies; and whether such a panel has
// an unrolled loop as well. With 16 registers gcc 12 would leave a sum in memory.
constexpr int kMatrixVectors = kRegisters == 32 ? 4 : 2;
constexpr bool kUnrollsInPlace = kUnrolled > 1 && kRegisters == 32;

// Of a number of vectors that is no constant.
FR_FN constexpr int64_t tile_rows(int64_t v) {
  constexpr int kRows[] = {kTileRows<1>, kTileRows<2>, kTileRows<3>, kTileRows<4>};
  return kRows[v - 1];
}
// Whether no tile of fewer vectors has more results than one of v.
constexpr bool holds_tiles(int64_t v) {
  for (int64_t w = 1; w < v; ++w) {
    if (w * tile_rows(w) > v * tile_rows(v)) return false;
  }
  return true;
}

// For a value that R products use: where registers are left gcc would load it again for each (94 of
// 117 GF/s).
template <int R, class V>
FR_FN void keep_in_register(V& value) {
#if defined(__x86_64__) && !defined(__clang__)
  if constexpr (R > 1) asm("" : "+v"(value));
#else
  static_cast<void>(value);
#endif
}

// Uses a value once more after a sum it went to: else gcc lets the sum move into its register, and an unrolled
// loop moves or spills sums to bring them back.
template <class A, class B>
FR_FN void use_after(const A& sum, const B& value) {
#if defined(__x86_64__) && !defined(__clang__)
  if constexpr (kUnrolled > 1) asm volatile("" : : "v"(sum), "v"(value));
#else
  static_cast<void>(sum), static_cast<void>(value);
#endif
}

// Hides that a pointer is another plus an offset, which gcc would add up anew at every use.
template <class T>
FR_FN void keep_apart(T*& pointer) {
  asm("" : "+r"(pointer));
}

// Products added up in a row before their sum goes to out: rounding grows with that number, and a
// sum in a register is added to out at the cost of two more multiplications. The baseline rounds each product
// as well, on x86-64.
constexpr int64_t kSummands = kWide ? 256 : 64;

// sum[r][v] += a(r) * panel[v]. An unrolled loop has the values of the rows or of the panel in registers,
// whichever are fewer.
template <int R, int V, class S, class A>
FR_FN void add_product(const A& a, const S* panel, Vec<Sum<S>> (&sum)[R][V]) {
  constexpr int W = kLanes<S>;
  if constexpr (kUnrolled > 1 && 1 < R && R < V) {
    Vec<S> x[R];
    repeat<R>([&](auto r) __attribute__((always_inline)) { x[r] = splat<Vec<S>>(a(r)); });
    repeat<V>([&](auto v) __attribute__((always_inline)) {
      Vec<S> b = load(panel + v * W);
      keep_in_register<R>(b);
      repeat<R>([&](auto r)
                    __attribute__((always_inline)) { multiply_add<S>(x[r], b, sum[r][v]); });
      use_after(sum[R - 1][v], b);
    });
  } else {
    Vec<S> b[V];
    repeat<V>([&](auto v) __attribute__((always_inline)) {
      b[v] = load(panel + v * W);
      if constexpr (kUnrolled == 1 && (R + 1) * V < kRegisters) keep_in_register<R>(b[v]);
    });
    repeat<R>([&](auto r) __attribute__((always_inline)) {
      const Vec<S> x = splat<Vec<S>>(a(r));
      repeat<V>([&](auto v)
                    __attribute__((always_inline)) { multiply_add<S>(x, b[v], sum[r][v]); });
      use_after(sum[r][V - 1], x);
    });
  }
}

// kAsks: as `soon` says. To look costs a small tile 2%. (Inlined, a loop would get no registers for its addresses.)
template <int R, int V, bool kAsks, int kStep, class S>
__attribute__((noinline)) void tile(const Term<S, kStep>* terms, int num_terms,
                                    Rows<const Sum<S>> init, Rows<Sum<S>> out, const Soon& soon) {
  using T = Sum<S>;
  constexpr int W = kLanes<T>;
  static_assert(kLanes<S> == W);
  Vec<T> sum[R][V] = {};
  const auto add_to_out = [&](Rows<const T> before) __attribute__((always_inline)) {
    repeat<R * V>([&](auto at) __attribute__((always_inline)) {
      constexpr int r = at / V, v = at % V;
      Vec<T> s = sum[r][v];
      if (before.data) s += load(before.data + r * before.row + v * W);
      store(out.data + r * out.row + v * W, s);
    });
  };
  int64_t ask_for = soon.count;
  const char* line = soon.line;
  for (int i = 0; i < num_terms; ++i) {
    Panel<S> panel = terms[i].panel;
    int64_t left = terms[i].k;
    Left<S, kStep> a = terms[i].a;
    // The offsets of 8 rows would not fit the registers (8 x 3 ran at 93-97% of the peak): the upper rows
    // have a base of their own.
    constexpr int kLower = R > 6 ? 4 : R;
    const S* upper = a.data + (R > kLower ? kLower * a.row : 0);
    keep_apart(upper);
    const auto row = [&](int r) __attribute__((always_inline)) {
      return r < kLower ? a.data + r * a.row : upper + (r - kLower) * a.row;
    };
    const auto advance = [&](int64_t k) __attribute__((always_inline)) {
      a.data += k * kStep;
      upper += k * kStep;
      panel.data += k * panel.row;
    };
    const auto add = [&](auto j,
                         const S* b) __attribute__((always_inline)) {  // the j-th k from here on
      add_product([&](int r) __attribute__((always_inline)) { return row(r)[j * kStep]; }, b, sum);
    };
    const auto take_turns = [&](int64_t turns, const auto& turn) __attribute__((always_inline)) {
      if constexpr (kAsks && kAsksForNextPanel) {
        for (; line && turns > 0; --turns) {
          prefetch(line, kLinesATurn * kLineBytes);
          line += soon.step;
          turn();
        }
      }
      for (; turns > 0; --turns) turn();
    };
    const auto add_products = [&](int64_t n) __attribute__((always_inline)) {
      if (kUnrolled > 1 && panel.row == V * W) {
        const auto turn = [&]() __attribute__((always_inline)) {
          repeat<kUnrolled>([&](auto j)
                                __attribute__((always_inline)) { add(j, panel.data + j * V * W); });
          advance(kUnrolled);
        };
        take_turns(n / kUnrolled, turn);
        n %= kUnrolled;
      } else if constexpr (kUnrollsInPlace && kStep == 1 && V == kMatrixVectors &&
                           kValues<S> == 1) {
        const auto turn = [&]() __attribute__((always_inline)) {
          repeat<kUnrolled>([&](auto j) __attribute__((always_inline)) {
            add(j, panel.data);
            panel.data += panel.row;
          });
          a.data += kUnrolled;
          upper += kUnrolled;
        };
        take_turns(n / kUnrolled, turn);
        n %= kUnrolled;
      }
      for (; n > 0; --n) {
        add(std::integral_constant<int, 0>{}, panel.data);
        advance(1);
      }
    };
    while (left > 0) {
      int64_t n = min(left, kSummands);
      left -= n;
      if constexpr (kAsks) {
        for (; n > 0 && ask_for > 0; --n) {
          prefetch(static_cast<const char*>(soon.rows[--ask_for]), soon.bytes);
          add_products(1);
        }
      }
      add_products(n);
      if (left == 0 && i + 1 == num_terms) continue;
      add_to_out(init);
      init = {out.data, out.row};
      repeat<R * V>([&](auto at)
                        __attribute__((always_inline)) { sum[at / V][at % V] = Vec<T>{}; });
    }
  }
  add_to_out(init);
}

// Those of V vectors, by whether they ask and by their rows.
template <int V, int kStep, class S>
struct Tiles {
  using Tile = void (*)(const Term<S, kStep>*, int, Rows<const Sum<S>>, Rows<Sum<S>>, const Soon&);
  Tile of[2][kTileRows<V>];
};
template <int V, int kStep, class S>
constexpr auto kTiles = []<int... r>(std::integer_sequence<int, r...>) {
  constexpr bool kAlways = kStep > 1;  // so few of these ask for nothing that one tile does
  return Tiles<V, kStep, S>{
      {{tile<r + 1, V, kAlways, kStep, S>...}, {tile<r + 1, V, true, kStep, S>...}}};
}(std::make_integer_sequence<int, kTileRows<V>>{});

// A tile of `rows` rows, at most kTileRows<V>, and of one term or several.
template <int V, int kStep, class S, class Next>
FR_FN void tile(int rows, const Term<S, kStep>* terms, int num_terms, Rows<const Sum<S>> init,
                Rows<Sum<S>> out, const Next& soon) {
  if constexpr (kAmx) {
    amx_tile<V>(rows, terms, num_terms, init, out, soon);
  } else {
    const bool asks = soon.count || soon.line;
    kTiles<V, kStep, S>.of[asks][rows - 1](terms, num_terms, init, out, soon);
  }
}

// The rows of a tile's result, where those are in memory.
template <int V, class T>
FR_FN Soon result_rows(int rows, Rows<T> out, const void** at) {
  for (int r = 0; r < rows; ++r) at[r] = out.data + r * out.row;
  return {at, rows, V * kVectorBytes};
}

// Calls f(first, rows) for tiles as equal as can be: 32 rows are 6 + 6 + 5 + 5 + 5 + 5.
template <class F>
FR_FN void for_tiles(int64_t most, int64_t rows, F f) {
  const bool one = rows <= most;  // without a division, which takes a processor tens of cycles
  const int64_t tiles = one ? 1 : ceil_div(rows, most), fewest = one ? rows : rows / tiles;
  for (int64_t i = 0, first = 0; i < tiles && rows > 0; ++i) {
    const int64_t n = fewest + (i < rows - fewest * tiles);
    f(first, static_cast<int>(n));
    first += n;
  }
}

// The product for any number of rows; k in blocks whose panel stays in the L2 cache. soon(r, count, at)
// is what is used after the tile of `count` rows from r on, at most kSoonRows a row, listed `at`; `next` is
// the panel that is used then, to be asked for, or null.
constexpr int kSoonRows = 12;
constexpr auto kNothingSoon = [](int64_t, int, const void**) { return Soon{}; };
template <int V, class S, class F>
FR_FN void multiply(int64_t rows, Left<S> a, Panel<S> panel, int64_t k, Rows<const Sum<S>> init,
                    Rows<Sum<S>> out, const F& soon,
                    std::type_identity_t<const S*> next = nullptr) {
  using T = Sum<S>;
  constexpr int64_t kBlock = 1024;
  int64_t first = 0;
  do {
    const int64_t n = min(kBlock, k - first);
    const Rows<const T> start = first ? Rows<const T>{out.data, out.row} : init;
    for_tiles(kTileRows<V>, rows, [&](int64_t r, int count) __attribute__((always_inline)) {
      const void* at[kMaxRows * kSoonRows];
      const Term<S> part{
          {a.data + r * a.row + first, a.row}, {panel.data + first * panel.row, panel.row}, n};
      const Rows<const T> from{offset(start.data, r * start.row), start.row};
      const Rows<T> to{out.data + r * out.row, out.row};
      const Soon after = first + n < k ? Soon{} : soon(r, count, at);
      const bool last = first + n == k;
      const S* then = last || !next ? next : panel.data + (first + n) * panel.row;
      const int64_t values = min(kBlock, last ? k : k - first - n) * panel.row;
      tile<V>(count, &part, 1, from, to, with_part_of(then, values, n, r, count, rows, after));
    });
    first += n;
  } while (first < k);
}

// Calls f with v, which is 1 to kMost, as a constant: the last panel of a matrix is narrower.
template <int kMost, class F>
FR_FN void with_constant(int64_t v, F f) {
  if constexpr (kMost > 1) {
    if (v < kMost) return with_constant<kMost - 1>(v, f);
  }
  f(std::integral_constant<int, kMost>{});
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
