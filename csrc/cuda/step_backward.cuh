// The backward kernel of one step, W neighbouring units of a sequence a thread. The matrix product of
// the step is the caller's; here is the cell, and all that surrounds it in memory.
#pragma once
#include "cuda/units.cuh"

namespace fused_rnn::cuda {

template <class Cell, class S, class V, int W>
__global__ void step_backward(StepBackward<S, V> p) {
  const Place<W> place;
  if (place.sequence < p.size && place.unit < p.hidden) {
    const int64_t at = place.sequence * p.hidden + place.unit;
    BackwardUnit<Cell, V> units[W];
    load_saved<W>(p.saved, place.sequence, place.unit, p.hidden, units);
    V back[W];
    load<W>(p.carry, at, back);
    for (int w = 0; w < W; ++w) units[w].grad.h = units[w].grad.h + back[w];
    if constexpr (Cell::kReadsBefore) {
      load<W>(constant(p.direct), at, back);
      for (int w = 0; w < W; ++w) units[w].grad.h = units[w].grad.h + back[w];
    }
    if constexpr (Cell::kHasC) {
      load_into<W>(constant(p.d_c), at, [&](int w) -> V& { return units[w].grad.c; });
    }
    for (int w = 0; w < W; ++w) units[w].step();
    store_gate_gradients<W>(p.gates, place.sequence, place.unit, p.hidden, units);
    if constexpr (Cell::kReadsBefore) {
      store_from<W>(p.direct, at, [&](int w) { return units[w].direct.h; });
    }
    if constexpr (Cell::kHasC) {
      store_from<W>(p.d_c, at, [&](int w) { return units[w].direct.c; });
    }
    if constexpr (Cell::kProjects) {
      if (p.hidden_state) {
        store_from<W>(p.hidden_state, at,
                      [&](int w) { return Cell::hidden(units[w].tape, units[w].after.c); });
      }
    }
  }
}

}  // namespace fused_rnn::cuda
