// The whole sequence backward in one launch (persistent.cuh), all but the weights' gradients, which
// are one product over d_xg or dr afterwards. The gates' gradients of a step go through shared
// memory to the dot products with weight_hh that make dh of the step before; in two arrays by
// turns, so that one barrier a step is enough.
#pragma once
#include "cuda/persistent.cuh"

namespace fused_rnn::cuda {

// What forward left of a step; `before` is the step before it, of size 0 if there is none.
template <class S>
FR_DEVICE Saved<S, Compute<S>> saved_at(const PersistentBackward<S>& p, StepRows step,
                                        StepRows before, int tape) {
  const int64_t H = p.hidden;
  const auto row = [](auto* array, int64_t at) { return array ? array + at : nullptr; };
  return {before.size,
          {row(p.grad_output, step.row * H)},
          {row(p.output, step.row * H)},
          {row(p.cells, step.row * H)},
          {row(p.tape, step.row * tape * H)},
          {{row(p.output, before.row * H)}, {p.h_0}},
          {{row(p.cells, before.row * H)}, {p.c_0}}};
}

// The gradient of the state after the last step.
template <class S, int rows>
FR_DEVICE State<Compute<S>> last_gradient(const PersistentBackward<S>& p, const Lane<rows>& lane) {
  State<Compute<S>> grad{};
  if (lane.exists) {
    const int64_t at = lane.sequence * p.hidden + lane.unit;
    if (p.grad_h_n) grad.h = widen(p.grad_h_n[at]);
    if (p.grad_c_n) grad.c = widen(p.grad_c_n[at]);
  }
  return grad;
}

// weight_hh [depth][hidden] to weights [depth][pitch], each lane what dot() has it read.
template <class S, int rows>
FR_DEVICE void stage_rows(const S* weight_hh, int depth, int H, S* weights, int pitch,
                          const Lane<rows>& lane, int slices) {
  if (lane.works) {
#pragma unroll 8
    for (int row = lane.slice; row < depth; row += slices) {
      weights[row * pitch + lane.unit] = weight_hh[row * H + lane.unit];
    }
  }
}

template <class Cell, class S, int rows>
__global__ void __launch_bounds__(kPersistentThreads, 1)
    persistent_backward(PersistentBackward<S> p) {
  using T = Compute<S>;
  constexpr int G = Cell::kGates;
  const int H = static_cast<int>(p.hidden), pitch = static_cast<int>(p.shares.pitch);
  const int slices = p.shares.slices;
  const Lane<rows> lane(H, p.batch, slices);
  SharedArena arena;
  S* const weights = arena.take<S>(G * H * pitch);   // [gates * hidden][pitch]
  T* const gates = arena.take<T>(2 * G * H * rows);  // [2][gates * hidden][rows]: dr
  stage_rows(p.weight_hh, G * H, H, weights, pitch, lane, slices);

  int near = p.runs.count - 1;
  const auto has_step = [&](StepRows step) { return lane.exists && lane.sequence < step.size; };
  const auto rows_before = [&](int64_t i) {
    return i > 0 ? rows_of(p.runs, i - 1, near) : StepRows{0, 0};
  };
  State<T> grad = last_gradient(p, lane);
  StepRows step = rows_of(p.runs, p.runs.steps - 1, near);
  StepRows before = rows_before(p.runs.steps - 1);
  BackwardUnit<Cell, T> unit,
      ahead{};  // what forward left is on its way a step before it is needed
  const auto load_step = [&] {
    if (has_step(step)) {
      load_saved<1>(saved_at(p, step, before, Cell::kTape), lane.sequence, lane.unit, H, &ahead);
    }
  };
  load_step();
  for (int64_t i = p.runs.steps - 1; i >= 0; --i) {
    unit = ahead;
    const bool has_gates = has_step(step);
    if (has_gates) {
      unit.grad.h += grad.h;
      unit.grad.c = grad.c;
      unit.step();
      const int64_t at = step.row * G * H;
      const GateGradients<S, T> to{{p.d_xg + at}, {p.dr ? p.dr + at : nullptr}};
      store_gate_gradients<1>(to, lane.sequence, lane.unit, H, &unit);
    }
    T* const dr = gates + i % 2 * G * H * rows;
    if (lane.owns) {
      for (int g = 0; g < G; ++g) {
        dr[(g * H + lane.unit) * rows + lane.slice] = unit.dr[g];
      }
    }
    step = before;
    before = rows_before(i - 1);
    load_step();
    __syncthreads();  // dr; and the weights
    T sums[1][rows] = {};
    if (lane.works) dot(weights + lane.unit, pitch, 0, dr, G * H, lane.slice, slices, sums);
    reduce(sums, lane.slice, slices);
    if (has_gates) grad = {sums[0][0] + unit.direct.h, unit.direct.c};
  }
  if (lane.exists) {
    const int64_t at = lane.sequence * H + lane.unit;
    if (p.d_h_0) narrow(grad.h, p.d_h_0[at]);
    if (p.d_c_0) narrow(grad.c, p.d_c_0[at]);
  }
}

}  // namespace fused_rnn::cuda
