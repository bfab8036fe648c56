// The forward kernel of one step, W neighbouring units of a sequence a thread. The matrix product of
// the step is the caller's; here is the cell, and all that surrounds it in memory.
#pragma once
#include "cuda/units.cuh"

namespace fused_rnn::cuda {

template <class Cell, class S, class V, int W>
__global__ void step_forward(StepForward<S, V> p) {
  const Place<W> place;
  if (place.sequence < p.size && place.unit < p.hidden) {
    const int64_t at = place.sequence * p.hidden + place.unit;
    const bool kept = place.sequence < p.kept;
    ForwardUnit<Cell, V> units[W];
    load_gates<W>(p.xg, place.sequence, place.unit, p.hidden, units);
    for (int g = 0; g < Cell::kGates; ++g) {
      load_into<W>(p.r, (place.sequence * Cell::kGates + g) * p.hidden + place.unit,
                   [&](int w) -> V& { return units[w].r[g]; });
      if (p.bias_hh) {
        V bias[W];
        load<W>(p.bias_hh, g * p.hidden + place.unit, bias);
        for (int w = 0; w < W; ++w) units[w].r[g] = units[w].r[g] + bias[w];
      }
    }
    if constexpr (Cell::kReadsBefore) {
      load_before<W>(p.before_h, kept, at, [&](int w) -> V& { return units[w].before.h; });
    }
    if constexpr (Cell::kHasC) {
      load_before<W>(p.before_c, kept, at, [&](int w) -> V& { return units[w].before.c; });
    }
    for (int w = 0; w < W; ++w) units[w].step();
    store_made<W>(p.made, place.sequence, place.unit, p.hidden, units);
  }
}

}  // namespace fused_rnn::cuda
