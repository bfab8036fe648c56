// A step forward on AMX. The cell takes as long as the products do, and other units of the processor: so the cell of
// a tile's rows waits for the next tile, and is done beside it, some rows with every so many products.
#pragma once
#include "cpu/forward-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class Cell, class T, class S>
class WaitingCell {
  static constexpr int64_t kSize = kMaxRows * GatePanels<Cell, T>::V * kLanes<T>;

 public:
  WaitingCell(const GatePanels<Cell, T>& panels, const Place<T, S>& place)
      : panels_(panels), place_(place) {}

  // Where the next tile's results may go; those of the tile before are in the other half.
  T* sums() { return sums_[turn_]; }
  T* inputs() { return inputs_[turn_]; }

  // `count` rows from r on and the units of panel p wait now; none did.
  void wait(int64_t p, int64_t r, int64_t count, const Gates<T>& x, const Gates<T>& recurrent) {
    panel_ = p, row_ = r, end_ = r + count, x_ = x, recurrent_ = recurrent;
    turn_ = 1 - turn_;
  }
  int64_t left() const { return end_ - row_; }
  __attribute__((noinline)) void do_some(int64_t rows) {
    rows = min(rows, left());
    if (rows <= 0) return;
    apply_cell(panels_, panel_, row_, rows, x_, recurrent_, place_);
    row_ += rows;
    x_ = x_.of_row(rows), recurrent_ = recurrent_.of_row(rows);
  }

 private:
  const GatePanels<Cell, T>& panels_;
  const Place<T, S>& place_;
  int64_t panel_ = 0, row_ = 0, end_ = 0;
  Gates<T> x_{}, recurrent_{};
  int turn_ = 0;
  alignas(64) T sums_[2][kSize], inputs_[2][kSize];
};

template <class Cell, class T, class S>
void ForwardPass<Cell, T, S>::panels_beside(Range panels, bool reverse, int64_t n,
                                            const Place<T, S>& place, const NextStep& later) {
  WaitingCell<Cell, T, S> cell(panels_, place);
  const void* at[kMaxRows * kSoonRows];
  for (int64_t i = 0; i < panels.last - panels.first; ++i) {
    const int64_t p = nth(panels, i, reverse);
    const S *w_x = weights_.input_panel(p), *w_h = weights_.state_panel(p);
    const bool adds_up = weights_.adds_up();
    with_constant<V>(panels_.width(p), [&](auto width) __attribute__((always_inline)) {
      constexpr int64_t row = width * W;
      for_tiles(kTileRows<width>, n, [&](int64_t r, int count) __attribute__((always_inline)) {
        later.ask(i, r, count);
        const Term<S> terms[] = {{{offset(place.x, r * f_.in), f_.in}, {w_x, row}, f_.in},
                                 {{place.h + r * p_.out, p_.out}, {w_h, row}, p_.out}};
        T *sums = cell.sums(), *inputs = cell.inputs();
        const Rows<const T> start = adds_up && ahead() ? xg_rows(p, r, place) : weights_.bias_r(p);
        const Soon soon = written_rows(panels_, p, r, count, place, at);
        if (joined() && !adds_up) {
          tile<width>(count, terms, 1, weights_.bias_x(p), {inputs, row}, Soon{});
        }
        const int num_terms = joined() && adds_up ? 2 : 1;
        tile<width>(count, terms + 2 - num_terms, num_terms, start, {sums, row},
                    WithWork<decltype(cell)>{soon, &cell});
        cell.do_some(cell.left());
        const Gates<T> from_x = adds_up ? Gates<T>{} : x_gates(p, r, inputs, row, place);
        cell.wait(p, r, count, from_x, panels_.gates(p, sums, row));
      });
    });
  }
  cell.do_some(cell.left());
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
