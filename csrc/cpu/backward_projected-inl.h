// A step backward with a projection: first the whole gradient of h, then that of h before it was projected, and the
// cell's backward step.
#pragma once
#include "cpu/backward-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class Cell, class T, class S>
void BackwardPass<Cell, T, S>::projected_step(const Team& team, int64_t s, int64_t first,
                                              int64_t end, int64_t go_on, const S* dr_after) {
  const int64_t row = p_.steps[s].row;
  const Range units = panels(team, projection_);
  state_gradients(team, false, first, end, go_on, dr_after, kNone,
                  [&](int64_t p, Rows<const T> sums) __attribute__((always_inline)) {
                    for (int64_t b = first; b < end; ++b) {
                      const S* grad_output = offset(a_.grad_output, (row + b) * p_.out);
                      for (int64_t at = p * kPanel; at < min(out_, (p + 1) * kPanel); at += W) {
                        Vec<T> grad = load(sums.data + b * sums.row + at - p * kPanel);
                        if (grad_output) grad += load_from(grad_output, at, out_ - at);
                        store_to(d_out_ + (row + b) * p_.out, at, grad, out_ - at);
                      }
                    }
                  });
  meet(team);
  const Range own = by_units_ ? team.sequences : Range{first, end};
  for (int64_t b = own.first; b < min(own.last, end); ++b) {
    __builtin_memset(carry_ + b * carry_row_, 0, carry_row_ * sizeof(T));
  }
  for (int64_t p = units.first; p < units.last; ++p) {
    projection_.multiply_panel(
        p, end - first, {d_out_ + (row + first) * p_.out, p_.out}, {nullptr, 0},
        {team.sums + first * kPanel, kPanel},
        [&](int64_t r, int n, const void** at)
            __attribute__((always_inline)) { return soon(s, first, p, r, n, at); });
    for (int64_t b = first; b < end; ++b) cell(s, b, p, team.sums + b * kPanel, nullptr);
  }
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
