// The recurrence backward, from the last step to the first: dh = what the step after hands back + the
// gates' gradients there @ weight_hh + the output's own gradient, then the cell's backward step over
// it. Threads share the sequences or the units, as forward. The weights' gradients follow, in one
// product over all rows (outer-inl.h).
#pragma once
#include "cpu/barrier.h"
#include "cpu/matrix-inl.h"
#include "cpu/outer-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class Cell, class T, class S = T>
class BackwardPass {
  static constexpr int W = kLanes<T>, G = Cell::kGates;
  static constexpr int64_t kPanel = RightMatrix<S>::kColumns;
  static constexpr auto kNone = [](int64_t, int64_t, int, const void**) { return Soon{}; };

 public:
  explicit BackwardPass(const Backward<T, S>& args)
      : a_(args),
        p_(args.problem),
        gates_(G * p_.hidden / kValues<S>),
        out_(p_.out * kValues<S>),
        by_units_(shares_units()),
        weights_(gates_, out_, as_they_lie() ? p_.weight_hh : nullptr),
        projection_(p_.out, p_.weight_hr ? p_.hidden : 0),
        carry_row_(weights_.panels() * kPanel),
        carry_(p_.batch * carry_row_),
        all_sums_(weights_.in_parts() ? p_.batch * carry_row_ : 0),
        dr_row_(!Cell::kSameGates && a_.own_tape ? Cell::kTape * p_.hidden : gates_),
        own_dr_(Cell::kSameGates || a_.own_tape ? 0 : p_.rows * gates_),
        dr_(Cell::kSameGates ? a_.d_xg
            : a_.own_tape    ? static_cast<S*>(static_cast<void*>(a_.own_tape))
                             : own_dr_),
        d_out_(p_.weight_hr ? p_.rows * p_.out : 0),
        hidden_(p_.weight_hr ? p_.rows * p_.hidden / kValues<S> : 0),
        d_weight_hh_(p_.steps, p_.num_steps, p_.rows, G * p_.hidden, out_),
        d_weight_hr_(p_.steps, p_.num_steps, p_.rows, out_, p_.hidden) {}

  // The weights' gradients may have more threads than the steps.
  int64_t shares() const { return max(step_shares(), ceil_div(G * p_.hidden, W)); }

  void allocate(int count) {
    sums_.allocate(count * p_.batch * kPanel);
    if (a_.d_weight_hh || a_.d_bias_hh) d_weight_hh_.allocate(count);
    if (a_.d_weight_hr) d_weight_hr_.allocate(count);
  }

  // The three shares of a thread, with a barrier between them.
  void pack(int thread, int count) {
    if (p_.num_steps > 1 || a_.d_h_0) weights_.pack(p_.weight_hh, thread, count);
    projection_.pack(p_.weight_hr, thread, count);
    start(share(p_.batch, thread, count));
  }

  void run(int thread, int count) {
    count = static_cast<int>(min(count, step_shares()));
    if (thread >= count) return;
    const Team team{thread, count, share(p_.batch, thread, count),
                    sums_ + thread * p_.batch * kPanel};
    const Range batch = by_units_ ? Range{0, p_.batch} : team.sequences;
    for (int64_t s = p_.num_steps - 1; s >= 0; --s) {
      const Step& step = p_.steps[s];
      const int64_t first = batch.first, end = min(batch.last, step.size);
      if (end <= first) continue;
      const int64_t go_on = s + 1 < p_.num_steps ? min(end, p_.steps[s + 1].kept) : 0;
      const S* dr_after = go_on > first ? dr_ + p_.steps[s + 1].row * dr_row_ : nullptr;
      p_.weight_hr ? projected_step(team, s, first, end, go_on, dr_after)
                   : plain_step(team, s, first, end, go_on, dr_after);
      meet(team);
      finish(team, max(first, min(end, step.kept)), end, dr_ + step.row * dr_row_);
    }
    if (p_.num_steps == 0) finish(team, batch.first, batch.last, nullptr);
  }

  void weights(int thread, int count) {
    if (a_.d_weight_hh || a_.d_bias_hh) {
      d_weight_hh_.run(thread, count, a_.d_weight_hh, a_.d_bias_hh, [&](int64_t s, int64_t b) {
        return OuterRow<S>{dr_ + (p_.steps[s].row + b) * dr_row_,
                           before(a_.output, p_.h_0, p_.out, s, b)};
      });
    }
    if (a_.d_weight_hr) {
      d_weight_hr_.run(thread, count, a_.d_weight_hr, nullptr, [&](int64_t s, int64_t b) {
        const int64_t row = p_.steps[s].row + b;
        return OuterRow<S>{d_out_ + row * p_.out, hidden_ + row * p_.hidden / kValues<S>};
      });
    }
  }

 private:
  struct Team {
    int thread, count;
    Range sequences;  // this thread's, for what is done by sequences
    T* sums;          // [batch][kPanel], this thread's
  };
  int64_t step_shares() const {
    return parts(by_units_, p_.batch, weights_.panels(), step_products());
  }
  bool as_they_lie() const {
    if (kValues<S> > 1) return false;  // two rows make pairs
    return few_rows(p_.rows, p_.out) || read_seldom(p_.rows, p_.num_steps);
  }
  int64_t step_products() const { return p_.batch * gates_ * out_; }
  bool shares_units() const {
    const int64_t bytes = gates_ * out_ * static_cast<int64_t>(sizeof(S));
    return bound_by_weights(p_.batch, bytes, step_products()) ||
           (!as_they_lie() && threads_bound_by_weights(p_.threads, ceil_div(out_, kPanel), p_.batch,
                                                       bytes, step_products()));
  }
  // The panels of a matrix that this thread has.
  Range panels(const Team& team, const RightMatrix<S>& matrix) const {
    return by_units_ ? share(matrix.panels(), team.thread, team.count) : Range{0, matrix.panels()};
  }
  void meet(const Team& team) {
    if (by_units_) barrier_.wait(team.count);
  }

  // Row of the state before step s of sequence b, in an array that forward filled or the initial state.
  template <class Value>
  FR_FN const Value* before(const Value* made, const Value* initial, int64_t width, int64_t s,
                            int64_t b) const {
    return b < p_.steps[s].kept ? made + (p_.steps[s - 1].row + b) * width : initial + b * width;
  }

  // carry_ holds what dh gets beside the matrix product, and d_c_0 the running gradient of c.
  void start(Range sequences) {
    for (int64_t b = sequences.first; b < sequences.last; ++b) {
      T* carry = carry_ + b * carry_row_;
      __builtin_memset(carry, 0, carry_row_ * sizeof(T));
      if (a_.grad_h_n) __builtin_memcpy(carry, a_.grad_h_n + b * out_, out_ * sizeof(T));
      if (a_.d_c_0) {
        copy(a_.d_c_0 + b * p_.hidden, offset(a_.grad_c_n, b * p_.hidden), p_.hidden);
      }
    }
  }

  // Calls use(p, sums) for this thread's panels, from the last on if in reverse: row b of sums is carry + dr_after @
  // weight_hh there; sequences from go_on on end at this step. soon(p, ..) is as in multiply, for panels made one by one.
  template <class F, class Use>
  FR_FN void state_gradients(const Team& team, bool reverse, int64_t first, int64_t end,
                             int64_t go_on, const S* dr_after, const F& soon, const Use& use) {
    const Range mine = panels(team, weights_);
    const int64_t count = mine.last - mine.first, going = dr_after ? go_on - first : 0;
    const bool in_parts = weights_.in_parts(), asks = weights_.asks_for_next(p_.threads, going);
    const Rows<const S> dr{offset(dr_after, first * dr_row_), dr_row_};
    const Rows<const T> carry{carry_ + first * carry_row_, carry_row_};
    if constexpr (kValues<S> == 1) {
      if (in_parts && going > 0) {
        weights_.multiply_in_parts(mine, going, dr, carry,
                                   {all_sums_ + first * carry_row_, carry_row_});
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t p = nth(mine, i, reverse), column = p * kPanel;
      const Rows<T> sums =
          in_parts ? Rows<T>{all_sums_ + column, carry_row_} : Rows<T>{team.sums, kPanel};
      if (!in_parts && going > 0) {
        const int64_t next = asks && i + 1 < count ? nth(mine, i + 1, reverse) : -1;
        weights_.multiply_panel(
            p, going, dr, {carry.data + column, carry.row},
            {sums.data + first * sums.row, sums.row},
            [&](int64_t r, int n, const void** at)
                __attribute__((always_inline)) { return soon(p, r, n, at); },
            next);
      }
      for (int64_t b = first + going; b < end; ++b) {
        __builtin_memcpy(sums.data + b * sums.row, carry_ + b * carry_row_ + column,
                         kPanel * sizeof(T));
      }
      use(p, Rows<const T>{sums.data, sums.row});
    }
  }

  void plain_step(const Team& team, int64_t s, int64_t first, int64_t end, int64_t go_on,
                  const S* dr_after) {
    state_gradients(
        team, s & 1, first, end, go_on, dr_after,
        [&](int64_t p, int64_t r, int n, const void** at)
            __attribute__((always_inline)) { return soon(s, first, p, r, n, at); },
        [&](int64_t p, Rows<const T> sums) __attribute__((always_inline)) {
          for (int64_t b = first; b < end; ++b) {
            const S* grad = offset(a_.grad_output, (p_.steps[s].row + b) * p_.out);
            cell(s, b, p, sums.data + b * sums.row, grad);
          }
        });
  }

  // With a projection (backward_projected-inl.h).
  void projected_step(const Team& team, int64_t s, int64_t first, int64_t end, int64_t go_on,
                      const S* dr_after);

  // What `cell` reads and writes once for panel p and `count` sequences, from the r-th after `first` on.
  FR_FN Soon soon(int64_t s, int64_t first, int64_t p, int64_t r, int count,
                  const void** at) const {
    static_assert(Cell::kTape + G + 4 <= kSoonRows);
    const bool on_tape = static_cast<const void*>(a_.d_xg) == a_.own_tape;
    const int64_t H = p_.hidden, unit = p * kPanel;
    int64_t n = 0;
    for (int64_t b = first + r; b < first + r + count; ++b) {
      const int64_t row = p_.steps[s].row + b;
      for (int k = 0; k < Cell::kTape; ++k) at[n++] = a_.tape + (row * Cell::kTape + k) * H + unit;
      if (a_.grad_output && !p_.weight_hr) at[n++] = address_in(a_.grad_output, row * H + unit);
      if (Cell::kHasC) at[n++] = before(a_.cells, p_.c_0, H, s, b) + unit;
      if (Cell::kReadsBefore) at[n++] = address_in(before(a_.output, p_.h_0, p_.out, s, b), unit);
      if (Cell::kReadsAfter) at[n++] = address_in(a_.output, row * H + unit);
      for (int g = 0; !on_tape && g < G; ++g) {
        at[n++] = address_in(a_.d_xg, (row * G + g) * H + unit);
      }
    }
    return {at, n, min(kPanel, H - unit) * static_cast<int64_t>(sizeof(T))};
  }

  // The cell's backward step for the units of panel p, whose dh is sums plus grad.
  FR_FN void cell(int64_t s, int64_t b, int64_t p, const T* sums, const S* grad) {
    for (int v = 0; v < RightMatrix<S>::V; ++v) {
      const int64_t unit = p * kPanel + v * W, lanes = p_.hidden - unit;
      if (lanes >= W) {
        units(s, b, unit, AllLanes<T>{}, sums + v * W, grad);
      } else if (lanes > 0) {
        units(s, b, unit, lanes, sums + v * W, grad);
      }
    }
  }

  template <class Lanes>
  FR_FN void units(int64_t s, int64_t b, int64_t unit, Lanes lanes, const T* sum,
                   const S* grad_output) {
    const int64_t H = p_.hidden, row = p_.steps[s].row + b;
    State<Vec<T>> state_before{}, after{}, grad{};
    Vec<T> tape[Cell::kTape + 1], dx[G], dr[G];
    grad.h = load(sum);
    if (grad_output) grad.h += load_from(grad_output, unit, lanes);
    for (int k = 0; k < Cell::kTape; ++k) {
      tape[k] = load(a_.tape + (row * Cell::kTape + k) * H + unit, lanes);
    }
    if constexpr (Cell::kReadsBefore) {
      state_before.h = load_from(before(a_.output, p_.h_0, p_.out, s, b), unit, lanes);
    }
    if constexpr (Cell::kReadsAfter) after.h = load_from(a_.output, row * H + unit, lanes);
    if constexpr (Cell::kHasC) {
      state_before.c = load(before(a_.cells, p_.c_0, H, s, b) + unit, lanes);
      after.c = load(a_.cells + row * H + unit, lanes);
      grad.c = load(a_.d_c_0 + b * H + unit, lanes);
    }
    const State<Vec<T>> direct = Cell::step_backward(tape, state_before, after, grad, dx, dr);
    for (int g = 0; g < G; ++g) {
      store_to(a_.d_xg, (row * G + g) * H + unit, dx[g], lanes);
      if constexpr (!Cell::kSameGates) {
        store_to(dr_ + row * dr_row_, g * H + unit, dr[g], lanes);
      }
    }
    if constexpr (Cell::kHasC) store(a_.d_c_0 + b * H + unit, direct.c, lanes);
    if constexpr (Cell::kProjects) {
      if (p_.weight_hr) {
        const Vec<T> hidden = Cell::hidden(tape, after.c);
        return store_to(hidden_ + row * H / kValues<S>, unit, hidden, lanes);
      }
    }
    store(carry_ + b * carry_row_ + unit, direct.h, lanes);
  }

  // d_h_0 of the sequences that start at the step whose gates' gradients are dr (null: no step).
  void finish(const Team& team, int64_t first, int64_t end, const S* dr) {
    if (!a_.d_h_0 || first >= end) return;
    state_gradients(team, false, first, end, end, dr, kNone,
                    [&](int64_t p, Rows<const T> sums) __attribute__((always_inline)) {
                      const int64_t column = p * kPanel, n = min(kPanel, out_ - column);
                      for (int64_t b = first; b < end; ++b) {
                        T* d_h_0 = a_.d_h_0 + b * out_ + column;
                        __builtin_memcpy(d_h_0, sums.data + b * sums.row, n * sizeof(T));
                      }
                    });
  }

  const Backward<T, S>& a_;
  const Problem<T, S>& p_;
  const int64_t gates_;  // elements of a row of dr
  const int64_t out_;    // values of a row of h
  const bool by_units_;
  RightMatrix<S> weights_;     // weight_hh
  RightMatrix<S> projection_;  // weight_hr
  const int64_t carry_row_;
  Buffer<T> carry_;     // [batch][carry_row]
  Buffer<T> all_sums_;  // [batch][carry_row], where weight_hh is read in parts
  // The gradients of r, of rows dr_row_ apart: those of x where the cell has them equal, else in the
  // tape where it may be written over, else in memory of their own.
  const int64_t dr_row_;
  Buffer<S> own_dr_;
  S* const dr_;
  Buffer<S> d_out_;   // [rows][out], the whole gradient of a projected h
  Buffer<S> hidden_;  // [rows][hidden], h before the projection
  Buffer<T> sums_;    // [threads][batch][V][W]
  Barrier barrier_;
  OuterProduct<S> d_weight_hh_, d_weight_hr_;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
