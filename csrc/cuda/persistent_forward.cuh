// The whole sequence forward in one launch (persistent.cuh). h goes from step to step through shared
// memory, in two arrays by turns, so that one barrier a step is enough: who writes h of the next
// step never meets who still reads that of this one.
#pragma once
#include "cuda/persistent.cuh"

namespace fused_rnn::cuda {

template <class S>
FR_DEVICE Made<S, Compute<S>> made_at(const PersistentForward<S>& p, int64_t row, int tape) {
  return {{p.output + row * p.hidden},
          {p.cells ? p.cells + row * p.hidden : nullptr},
          {p.tape ? p.tape + row * tape * p.hidden : nullptr}};
}

// weight_hh [gates * hidden][hidden] to weights [hidden][pitch], each lane what dot() has it read, so
// that here too lanes never meet in a bank.
template <int G, class S, int rows>
FR_DEVICE void stage_gates(const S* weight_hh, int H, S* weights, int pitch, const Lane<rows>& lane,
                           int slices) {
  for (int column = lane.unit; lane.works && column < G * H; column += H) {
#pragma unroll 8
    for (int k = lane.slice; k < H; k += slices) {
      weights[k * pitch + column] = weight_hh[column * H + k];
    }
  }
}

// The state before the first step; zero where there is none.
template <class Cell, class S, int rows>
FR_DEVICE State<Compute<S>> first_state(const PersistentForward<S>& p, const Lane<rows>& lane) {
  State<Compute<S>> state{};
  if (lane.exists) {
    const int64_t at = lane.sequence * p.hidden + lane.unit;
    state.h = widen(p.h_0[at]);
    if constexpr (Cell::kHasC) state.c = widen(p.c_0[at]);
  }
  return state;
}

template <class Cell, class S, int rows>
__global__ void __launch_bounds__(kPersistentThreads, 1)
    persistent_forward(PersistentForward<S> p) {
  using T = Compute<S>;
  constexpr int G = Cell::kGates;
  const int H = static_cast<int>(p.hidden), pitch = static_cast<int>(p.shares.pitch);
  const int slices = p.shares.slices;
  const Lane<rows> lane(H, p.batch, slices);
  SharedArena arena;
  S* const weights = arena.take<S>(H * pitch);    // [hidden][pitch]: column gate * hidden + unit
  T* const states = arena.take<T>(2 * H * rows);  // [2][hidden][rows]
  stage_gates<G>(p.weight_hh, H, weights, pitch, lane, slices);

  const auto has_step = [&](StepRows step) { return lane.exists && lane.sequence < step.size; };
  const auto load_x = [&](StepRows step, ForwardUnit<Cell, T>& unit) {
    if (has_step(step)) {
      const Array<const S, T> xg{p.xg + step.row * G * H};
      load_gates<1>(xg, lane.sequence, lane.unit, H, &unit);
    }
  };
  State<T> state = first_state<Cell>(p, lane);
  T bias[G] = {};
  if (lane.exists && p.bias_hh) {
    for (int g = 0; g < G; ++g) bias[g] = widen(p.bias_hh[g * H + lane.unit]);
  }
  if (lane.owns) states[lane.unit * rows + lane.slice] = state.h;

  int near = 0;
  StepRows next = rows_of(p.runs, 0, near);
  ForwardUnit<Cell, T> unit, ahead{};  // x is on its way a step before it is needed
  load_x(next, ahead);
  __syncthreads();  // weights, and states of the first step
  for (int64_t i = 0; i < p.runs.steps; ++i) {
    const StepRows step = next;
    unit = ahead;
    if (i + 1 < p.runs.steps) {
      next = rows_of(p.runs, i + 1, near);
      load_x(next, ahead);
    }
    T sums[G][rows] = {};
    const T* const before = states + i % 2 * H * rows;
    if (lane.works) dot(weights + lane.unit, pitch, H, before, H, lane.slice, slices, sums);
    reduce(sums, lane.slice, slices);
    if (has_step(step)) {
      for (int g = 0; g < G; ++g) unit.r[g] = sums[g][0] + bias[g];
      unit.before = state;
      unit.step();
      state = unit.after;
      store_made<1>(made_at(p, step.row, Cell::kTape), lane.sequence, lane.unit, H, &unit);
    }
    T* const after = states + (i + 1) % 2 * H * rows;
    if (lane.owns) after[lane.unit * rows + lane.slice] = state.h;
    __syncthreads();  // states of the next step
  }
  if (lane.exists) {
    const int64_t at = lane.sequence * H + lane.unit;
    narrow(state.h, p.h_n[at]);
    if constexpr (Cell::kHasC) narrow(state.c, p.c_n[at]);
  }
}

}  // namespace fused_rnn::cuda
