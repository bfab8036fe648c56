// Hidden units in registers, W neighbours of one sequence a thread, and their way from memory and
// back. Gates and tape lie as [count, hidden] in a row.
#pragma once
#include "cells/table.h"
#include "cuda/params.h"
#include "cuda/storage.cuh"

namespace fused_rnn::cuda {

// The units of a thread of a step's kernel; plan_step lays the threads out.
template <int W>
struct Place {
  int64_t sequence, unit;

  FR_DEVICE Place()
      : sequence(int64_t(blockIdx.x) * blockDim.y + threadIdx.y),
        unit((int64_t(blockIdx.y) * blockDim.x + threadIdx.x) * W) {}
};

template <class Cell, class V>
struct ForwardUnit {
  V x[Cell::kGates], r[Cell::kGates];
  State<V> before, after;
  V tape[Cell::kTape + 1];

  FR_DEVICE void step() { after = Cell::step(x, r, before, tape); }
};

template <class Cell, class V>
struct BackwardUnit {
  V tape[Cell::kTape + 1];
  State<V> before, after, grad;
  V dx[Cell::kGates], dr[Cell::kGates];
  State<V> direct;  // gradient of `before` beside r

  FR_DEVICE void step() {
    direct = Cell::step_backward(tape, before, after, grad, dx, dr);
    if constexpr (Cell::kSameGates) {
      for (int g = 0; g < Cell::kGates; ++g) dr[g] = dx[g];
    }
  }
};

// Moves W neighbours between memory and what `number(w)` refers to.
template <int W, class S, class V, class Number>
FR_DEVICE void load_into(Array<const S, V> from, int64_t at, const Number& number) {
  V numbers[W];
  load<W>(from, at, numbers);
  for (int w = 0; w < W; ++w) number(w) = numbers[w];
}
template <int W, class S, class V, class Number>
FR_DEVICE void store_from(Array<S, V> to, int64_t at, const Number& number) {
  V numbers[W];
  for (int w = 0; w < W; ++w) numbers[w] = number(w);
  store<W>(to, at, numbers);
}

template <int W, class S, class V, class Number>
FR_DEVICE void load_before(const Before<S, V>& before, bool kept, int64_t at,
                           const Number& number) {
  load_into<W>(kept ? before.made : before.initial, at, number);
}

// x of the units; `units` is an array of W.
template <int W, class Cell, class S, class V>
FR_DEVICE void load_gates(Array<const S, V> xg, int64_t sequence, int64_t unit, int64_t hidden,
                          ForwardUnit<Cell, V>* units) {
  for (int g = 0; g < Cell::kGates; ++g) {
    load_into<W>(xg, (sequence * Cell::kGates + g) * hidden + unit,
                 [&](int w) -> V& { return units[w].x[g]; });
  }
}

template <int W, class Cell, class S, class V>
FR_DEVICE void store_made(const Made<S, V>& made, int64_t sequence, int64_t unit, int64_t hidden,
                          const ForwardUnit<Cell, V>* units) {
  const int64_t at = sequence * hidden + unit;
  store_from<W>(made.h, at, [&](int w) { return units[w].after.h; });
  if constexpr (Cell::kHasC) {
    if (made.c) store_from<W>(made.c, at, [&](int w) { return units[w].after.c; });
  }
  if (made.tape) {
    for (int k = 0; k < Cell::kTape; ++k) {
      store_from<W>(made.tape, (sequence * Cell::kTape + k) * hidden + unit,
                    [&](int w) { return units[w].tape[k]; });
    }
  }
}

// Tape and states of the units, and the output's gradient as grad.h.
template <int W, class Cell, class S, class V>
FR_DEVICE void load_saved(const Saved<S, V>& saved, int64_t sequence, int64_t unit, int64_t hidden,
                          BackwardUnit<Cell, V>* units) {
  const int64_t at = sequence * hidden + unit;
  const bool kept = sequence < saved.kept;
  for (int w = 0; w < W; ++w) units[w].grad = {};
  if (saved.grad_output) {
    load_into<W>(saved.grad_output, at, [&](int w) -> V& { return units[w].grad.h; });
  }
  for (int k = 0; k < Cell::kTape; ++k) {
    load_into<W>(saved.tape, (sequence * Cell::kTape + k) * hidden + unit,
                 [&](int w) -> V& { return units[w].tape[k]; });
  }
  if constexpr (Cell::kReadsAfter) {
    load_into<W>(saved.h, at, [&](int w) -> V& { return units[w].after.h; });
  }
  if constexpr (Cell::kReadsBefore) {
    load_before<W>(saved.before_h, kept, at, [&](int w) -> V& { return units[w].before.h; });
  }
  if constexpr (Cell::kHasC) {
    load_into<W>(saved.c, at, [&](int w) -> V& { return units[w].after.c; });
    load_before<W>(saved.before_c, kept, at, [&](int w) -> V& { return units[w].before.c; });
  }
}

template <int W, class Cell, class S, class V>
FR_DEVICE void store_gate_gradients(const GateGradients<S, V>& gates, int64_t sequence,
                                    int64_t unit, int64_t hidden,
                                    const BackwardUnit<Cell, V>* units) {
  for (int g = 0; g < Cell::kGates; ++g) {
    const int64_t at = (sequence * Cell::kGates + g) * hidden + unit;
    store_from<W>(gates.d_xg, at, [&](int w) { return units[w].dx[g]; });
    if constexpr (!Cell::kSameGates) {
      store_from<W>(gates.dr, at, [&](int w) { return units[w].dr[g]; });
    }
  }
}

}  // namespace fused_rnn::cuda
