// The cell forward, over pre-activations while they are in the L1 cache.
#pragma once
#include "cpu/gate_panels-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class T>
struct Place {  // where the rows of a step read and write
  const T *h, *x, *xg;
  T *c, *hidden, *cells, *tape;  // cells, tape: null in inference
};

// For row r and the units from `unit` on; their gates have a stride, x.data may be null: zero.
template <class Cell, class Lanes, class T>
FR_FN void apply_to_units(int64_t unit, Lanes lanes, int64_t hidden, int64_t r, Gates<T> inputs,
                          const T* sums, int64_t gate, const Place<T>& place) {
  constexpr int G = Cell::kGates;
  const int64_t at = r * hidden + unit;
  Vec<T> x[G], recurrent[G], tape[Cell::kTape + 1];
  for (int g = 0; g < G; ++g) {
    x[g] = inputs.data ? load(inputs.data + g * inputs.gate, lanes) : Vec<T>{};
    recurrent[g] = load(sums + g * gate);
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
      store(place.tape + (r * Cell::kTape + k) * hidden + unit, tape[k], lanes);
  }
}

// What is written for `count` rows from r on and the units of panel p, in training. In inference it is so
// little that asking for it gains nothing.
template <bool kTraining, class Cell, class T>
FR_FN auto written_rows(const GatePanels<Cell, T>& panels, int64_t p, int64_t r, int count,
                        const Place<T>& place, const void** at) {
  if constexpr (kTraining) {
    static_assert(Cell::kTape + 2 <= kSoonRows);
    const int64_t H = panels.hidden(), unit = panels.first_unit(p);
    int64_t n = 0;
    for (int64_t i = r; i < r + count; ++i) {
      at[n++] = place.hidden + i * H + unit;
      if (place.cells) at[n++] = place.cells + i * H + unit;
      for (int k = 0; k < Cell::kTape; ++k) {
        at[n++] = place.tape + (i * Cell::kTape + k) * H + unit;
      }
    }
    return Soon{at, n, panels.units(p) * static_cast<int64_t>(sizeof(T))};
  } else {
    return Nothing{};
  }
}

// For `count` rows from r on and the units of panel p.
template <class Cell, class T>
FR_FN void apply_cell(const GatePanels<Cell, T>& panels, int64_t p, int64_t r, int64_t count,
                      Gates<T> x, Gates<T> recurrent, const Place<T>& place) {
  constexpr int W = kLanes<T>;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t u = 0; u * W < panels.units(p); ++u) {
      const int64_t unit = panels.first_unit(p) + u * W, lanes = panels.hidden() - unit;
      const T* sums = recurrent.data + i * recurrent.row + u * recurrent.units;
      const Gates<T> inputs{offset(x.data, i * x.row + u * x.units), x.gate, 0, 0};
      const auto apply = [&](auto n) __attribute__((always_inline)) {
        apply_to_units<Cell>(unit, n, panels.hidden(), r + i, inputs, sums, recurrent.gate, place);
      };
      lanes >= W ? apply(AllLanes<T>{}) : apply(lanes);
    }
  }
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
