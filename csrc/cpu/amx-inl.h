// Products of pairs of bfloat16 in the registers of AMX: each holds up to 16 rows of 64 bytes, and one instruction
// multiplies 16 rows of 16 pairs by a panel's 16 rows of as many columns (Intel, Architecture Instruction Set
// Extensions Programming Reference, chapter 3).
#pragma once
#include "cpu/operands-inl.h"
#include "cpu/soon-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Two times 16 rows by two vectors of columns are added up at once, in four registers; the rows' pairs take two
// more, and the panel's two.
constexpr int kUpperSums = 0, kLowerSums = 2, kUpperRows = 4, kLowerRows = 5, kColumnPairs = 6;
constexpr int kAmxRegisters = 8, kRegisterRows = 16, kRegisterBytes = 64;
constexpr int64_t kPairs = kDepth<BFloat16Pair>;

// The instructions. Each may read or write memory, as far as the compiler knows.
template <int to>
FR_FN void load_register(const void* from, int64_t row_bytes) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(to), "r"(from), "r"(row_bytes) : "memory");
}
template <int to>
FR_FN void load_register_once(const void* from, int64_t row_bytes) {  // what L1 need not keep
  asm volatile("tileloaddt1 (%1,%2,1), %%tmm%c0" ::"i"(to), "r"(from), "r"(row_bytes) : "memory");
}
template <int from>
FR_FN void store_register(void* to, int64_t row_bytes) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(from), "r"(to), "r"(row_bytes) : "memory");
}
template <int at>
FR_FN void zero_register() {
  asm volatile("tilezero %%tmm%c0" ::"i"(at));
}
template <int rows, int columns, int sums>
FR_FN void multiply_registers() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(rows), "i"(columns));
}

// How many rows each register has, as the instruction reads it: the panel's 16, all others as many as `rows` says.
struct Shapes {
  uint8_t palette, start, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
struct AllShapes {
  Shapes of[kRegisterRows + 1];  // by rows
};
constexpr AllShapes all_shapes() {
  AllShapes shapes{};
  for (int rows = 1; rows <= kRegisterRows; ++rows) {
    Shapes& shape = shapes.of[rows];
    shape.palette = 1;
    for (int i = 0; i < kAmxRegisters; ++i) {
      shape.row_bytes[i] = kRegisterBytes;
      shape.rows[i] = static_cast<uint8_t>(i < kColumnPairs ? rows : kRegisterRows);
    }
  }
  return shapes;
}
alignas(64) constexpr AllShapes kShapes = all_shapes();

// It takes some 150 cycles, so not where they have that shape; 0 stands for none.
thread_local int shaped_rows __attribute__((tls_model("initial-exec"))) = 0;
FR_FN void shape_registers(int rows) {
  if (rows == shaped_rows) return;
  shaped_rows = rows;
  asm volatile("ldtilecfg %0" ::"m"(kShapes.of[rows]));
}
// So that the system need not keep them when it switches threads.
FR_FN void release_registers() {
  shaped_rows = 0;
  asm volatile("tilerelease");
}

// What a tile asks for, and work of other units of the processor that is done beside its products.
template <class Work>
struct WithWork : Soon {
  Work* work;
};

// Does a share of what a tile has beside its products, every time it is called.
template <class Next>
class Beside {
 public:
  FR_FN Beside(Next next, int64_t calls) : next_(next) {
    calls = max(calls, 1);
    asks_ = ceil_div(next.count, calls);
    if constexpr (kWorks) works_ = ceil_div(next.work->left(), calls);
  }
  FR_FN void go_on() {
    for (int64_t i = min(asks_, next_.count); i > 0; --i) {
      prefetch(static_cast<const char*>(next_.rows[--next_.count]), next_.bytes);
    }
    if constexpr (kWorks) next_.work->do_some(works_);
  }

 private:
  static constexpr bool kWorks = requires(Next n) { n.work; };
  Next next_;
  int64_t asks_ = 0, works_ = 0;
};

// sums += rows @ columns for 16 pairs from `a` and the panel on; kLower: there are more than 16 rows, whose second
// half begins with row `lower`. All loads before the products: 80 cycles for four of them, not 88.
template <bool kTwo, bool kLower>
FR_FN void add_pairs(const BFloat16Pair* a, int64_t a_row, int lower, Panel<BFloat16Pair> panel) {
  const int64_t stride = panel.row * sizeof(BFloat16Pair), step = a_row * sizeof(BFloat16Pair);
  load_register_once<kColumnPairs>(panel.data, stride);
  load_register<kUpperRows>(a, step);
  if constexpr (kTwo) {
    load_register_once<kColumnPairs + 1>(panel.data + kLanes<float>, stride);
  }
  if constexpr (kLower) load_register<kLowerRows>(a + lower * a_row, step);
  multiply_registers<kUpperRows, kColumnPairs, kUpperSums>();
  if constexpr (kTwo) multiply_registers<kUpperRows, kColumnPairs + 1, kUpperSums + 1>();
  if constexpr (kLower) {
    multiply_registers<kLowerRows, kColumnPairs, kLowerSums>();
    if constexpr (kTwo) multiply_registers<kLowerRows, kColumnPairs + 1, kLowerSums + 1>();
  }
}

// f(register, first row, vector) for each of the registers of sums.
template <bool kTwo, bool kLower, class F>
FR_FN void for_sums(int lower, const F& f) {
  repeat<(kLower ? 4 : 2)>([&](auto at) __attribute__((always_inline)) {
    if constexpr (at % 2 == 0 || kTwo) f(at, at < kLowerSums ? 0 : lower, at % 2);
  });
}

// The tile of tile-inl.h for up to 32 rows, in two halves of as many from 17 on: of an odd number both make the
// row amid them. The last pairs of rows, fewer than 16, are read from a copy that zeros follow. Sums start from `init`,
// and go on to the end: what bfloat16 loses is more.
template <int V, class Next>
__attribute__((noinline)) void amx_tile(int rows, const Term<BFloat16Pair>* terms, int num_terms,
                                        Rows<const float> init, Rows<float> out, Next soon) {
  alignas(64) BFloat16Pair edges[kMaxTerms][2 * kRegisterRows][kPairs];
  int64_t steps = 0;
  for (int i = 0; i < num_terms; ++i) {
    const int64_t k = terms[i].k, rest = k % kPairs;
    steps += ceil_div(k, kPairs);
    for (int r = 0; rest && r < rows; ++r) {
      store(edges[i][r], load(terms[i].a.data + r * terms[i].a.row + k - rest, rest));
    }
  }
  const int half = rows > kRegisterRows ? (rows + 1) / 2 : rows, lower = rows - half;
  Beside<Next> beside(soon, steps * ceil_div(V, 2));
  shape_registers(half);
  const auto columns = [&](auto two, auto both, int64_t column) __attribute__((always_inline)) {
    for_sums<two, both>(lower, [&](auto at, int row, int v) __attribute__((always_inline)) {
      if (init.data) {
        load_register<at>(init.data + row * init.row + column + v * kLanes<float>,
                          init.row * sizeof(float));
      } else {
        zero_register<at>();
      }
    });
    for (int i = 0; i < num_terms; ++i) {
      const Left<BFloat16Pair> a = terms[i].a;
      Panel<BFloat16Pair> panel = terms[i].panel;
      panel.data += column;
      int64_t k = 0;
      for (; k + kPairs <= terms[i].k; k += kPairs) {
        add_pairs<two, both>(a.data + k, a.row, lower, panel);
        panel.data += kPairs * panel.row;
        beside.go_on();
      }
      if (k < terms[i].k) {
        add_pairs<two, both>(edges[i][0], kPairs, lower, panel);
        beside.go_on();
      }
    }
    for_sums<two, both>(lower, [&](auto at, int row, int v) __attribute__((always_inline)) {
      store_register<at>(out.data + row * out.row + column + v * kLanes<float>,
                         out.row * sizeof(float));
    });
  };
  repeat<(V + 1) / 2>([&](auto i) __attribute__((always_inline)) {
    using Two = std::bool_constant<2 * i + 1 < V>;
    const int64_t column = 2 * i * kLanes<float>;
    rows > kRegisterRows ? columns(Two{}, std::true_type{}, column)
                         : columns(Two{}, std::false_type{}, column);
  });
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
