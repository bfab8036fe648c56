// The cell forward, over pre-activations while they are in the L1 cache.
#pragma once
#include "cpu/gate_panels-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class T, class S>
struct Place {  // where the rows of a step read and write
  const S *h, *x;
  const T* xg;
  T *c, *state;  // state: h before it was rounded, else null
  S* hidden;
  T *cells, *tape;  // null in inference
};

// Whether h is also kept as it was before it was rounded: steps that add to it would lose what is less than half a
// unit of its last place.
template <class Cell, class T, class S>
constexpr bool kKeepsState = Cell::kReadsBefore && !std::is_same_v<S, T>;

// A cell at work on a vector of units, from `unit` on, of row r.
template <class Cell, class Lanes, class T, class S>
class Units {
  using V = Vec<T>;
  static constexpr int G = Cell::kGates, kTape = Cell::kTape;

 public:
  FR_FN Units(int64_t unit, Lanes lanes, int64_t hidden, int64_t r, const Place<T, S>& place)
      : place_(place),
        lanes_(lanes),
        hidden_(hidden),
        at_(r * hidden + unit),
        tape_(r * kTape * hidden + unit) {}

  FR_FN void step(const Gates<T>& inputs, const Gates<T>& sums) const {
    V x[G], recurrent[G], tape[kTape + 1];
    load_gates(inputs, sums, x, recurrent);
    leave(Cell::step(x, recurrent, before(), tape));
    leave_tape<0, kTape>(tape);
  }

  FR_FN Last<V, V> prepare(const Gates<T>& inputs, const Gates<T>& sums) const {
    V x[G], recurrent[G], tape[kTape + 1];
    load_gates(inputs, sums, x, recurrent);
    const Last<V, V> last = Cell::prepare(x, recurrent, before(), tape);
    leave_tape<0, Cell::kPrepared>(tape);
    return last;
  }
  FR_FN void finish(const Last<V, V>& last) const {
    V tape[kTape + 1];
    leave(Cell::finish(last, before(), tape));
    leave_tape<Cell::kPrepared, kTape>(tape);
  }

 private:
  FR_FN void load_gates(const Gates<T>& inputs, const Gates<T>& sums, V* x, V* recurrent) const {
    for (int g = 0; g < G; ++g) {
      x[g] = inputs.data ? load(inputs.data + g * inputs.gate, lanes_) : V{};
      recurrent[g] = load(sums.data + g * sums.gate);
    }
  }
  FR_FN State<V> before() const {
    State<V> state{};
    if constexpr (kKeepsState<Cell, T, S>) {
      state.h = load(place_.state + at_, lanes_);
    } else if constexpr (Cell::kReadsBefore) {
      state.h = load(place_.h + at_, lanes_);
    }
    if constexpr (Cell::kHasC) state.c = load(place_.c + at_, lanes_);
    return state;
  }
  FR_FN void leave(const State<V>& after) const {
    store_to(place_.hidden, at_, after.h, lanes_);
    if constexpr (kKeepsState<Cell, T, S>) store(place_.state + at_, after.h, lanes_);
    if constexpr (Cell::kHasC) {
      store(place_.c + at_, after.c, lanes_);
      if (place_.cells) store(place_.cells + at_, after.c, lanes_);
    }
  }
  template <int first, int last>
  FR_FN void leave_tape(const V* tape) const {
    if constexpr (first < last) {
      if (!place_.tape) return;
      for (int k = first; k < last; ++k) store(place_.tape + tape_ + k * hidden_, tape[k], lanes_);
    }
  }

  const Place<T, S>& place_;
  const Lanes lanes_;
  const int64_t hidden_, at_, tape_;
};

// What is written for `count` rows from r on and the units of panel p, in training. In inference it is one row of
// h, for which the tiles of the step before ask (next_step-inl.h): its own would lose by it.
template <class Cell, class T, class S>
FR_FN Soon written_rows(const GatePanels<Cell, T>& panels, int64_t p, int64_t r, int count,
                        const Place<T, S>& place, const void** at) {
  static_assert(Cell::kTape + 2 <= kSoonRows);
  if (Cell::kTape == 0 || !place.tape) return {};
  const int64_t H = panels.hidden(), unit = panels.first_unit(p);
  int64_t n = 0;
  for (int64_t i = r; i < r + count; ++i) {
    at[n++] = address_in(place.hidden, i * H + unit);
    if (place.cells) at[n++] = place.cells + i * H + unit;
    for (int k = 0; k < Cell::kTape; ++k) {
      at[n++] = place.tape + (i * Cell::kTape + k) * H + unit;
    }
  }
  return {at, n, panels.units(p) * static_cast<int64_t>(sizeof(T))};
}

// How many rows wait for the cell, those of several tiles, where its step has two parts. The last
// activation waits for the others, and the next row's are too far away for the processor to begin them
// meanwhile: so the first part comes for all rows before the second. Fewer than kFewRows have nothing to
// wait for.
template <class Cell>
constexpr int64_t kCellRows = std::is_base_of_v<InTwoParts<Cell>, Cell> && kWide ? 12 : 1;
constexpr int64_t kFewRows = 3;

// For a vector of units of at most kCellRows rows and another tile, of a panel of rows, or of few rows.
template <class Cell, class T, class S, class Lanes>
__attribute__((noinline)) void apply_in_two_parts(int64_t unit, Lanes lanes, int64_t hidden,
                                                  int64_t r, int64_t count, const Gates<T>& x,
                                                  const Gates<T>& recurrent,
                                                  const Place<T, S>& place) {
  constexpr int64_t kMost =
      max(kCellRows<Cell> + kMaxRows, max(kMostFewRows, RightMatrix<T>::kColumns));
  const Place<T, S> own = place;  // the compiler sees that no store changes it
  Last<Vec<T>, Vec<T>> waiting[kMost];
  for (int64_t i = 0; i < count; ++i) {
    const Units<Cell, Lanes, T, S> units(unit, lanes, hidden, r + i, own);
    waiting[i] = units.prepare(x.of_row(i), recurrent.of_row(i));
  }
  for (int64_t i = 0; i < count; ++i) {
    Units<Cell, Lanes, T, S>(unit, lanes, hidden, r + i, own).finish(waiting[i]);
  }
}

// A row after the other.
template <class Cell, class T, class S, class Lanes>
FR_FN void apply_by_rows(int64_t unit, Lanes lanes, int64_t hidden, int64_t r, int64_t count,
                         const Gates<T>& x, const Gates<T>& recurrent, const Place<T, S>& place) {
  for (int64_t i = 0; i < count; ++i) {
    Units<Cell, Lanes, T, S>(unit, lanes, hidden, r + i, place)
        .step(x.of_row(i), recurrent.of_row(i));
  }
}

// For `count` rows from r on and the units of panel p.
template <class Cell, class T, class S>
FR_FN void apply_cell(const GatePanels<Cell, T>& panels, int64_t p, int64_t r, int64_t count,
                      const Gates<T>& x, const Gates<T>& recurrent, const Place<T, S>& place) {
  const int64_t hidden = panels.hidden();
  for (int64_t u = 0; u * kLanes<T> < panels.units(p); ++u) {
    const int64_t unit = panels.first_unit(p) + u * kLanes<T>, left = hidden - unit;
    const auto apply = [&](auto lanes) __attribute__((always_inline)) {
      const Gates<T> inputs = x.of_vector(u), sums = recurrent.of_vector(u);
      if constexpr (kCellRows<Cell> > 1) {
        if (count >= kFewRows) {
          return apply_in_two_parts<Cell>(unit, lanes, hidden, r, count, inputs, sums, place);
        }
      }
      apply_by_rows<Cell>(unit, lanes, hidden, r, count, inputs, sums, place);
    };
    left >= kLanes<T> ? apply(AllLanes<T>{}) : apply(left);
  }
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
