// What the launchers share.
#pragma once
#include "cells/table.h"
#include "cuda/launch.h"
#include "cuda/primitives.cuh"

namespace fused_rnn::cuda {

inline const char* error_of(cudaError_t error) {
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// Units that a thread takes where addresses allow it: 16 bytes of what is computed in.
template <class V>
constexpr int kVector = sizeof(V) == 8 ? 2 : 4;
template <class T>
constexpr int kVector<Dual<T>> = 1;

// Whether W numbers of each array can be moved at once; rows are multiples of `hidden`.
template <int W, class... S, class... V>
bool takes_vectors(int64_t hidden, Array<S, V>... arrays) {
  const auto aligned = [](auto array) {
    return reinterpret_cast<uintptr_t>(array.value) % (W * sizeof(*array.value)) == 0;
  };
  return hidden % W == 0 && (aligned(arrays) && ...);
}

// kernel<<<plan>>>(step) for `width` units a thread.
template <class Step>
const char* launch_units(void (*kernel)(Step), const Step& step, int width, Stream stream) {
  const StepPlan plan = plan_step(step.size, step.hidden, width);
  const dim3 grid(static_cast<unsigned>(plan.grid_x), static_cast<unsigned>(plan.grid_y));
  return error_of(launch(kernel, grid, dim3(plan.block_x, plan.block_y), 0,
                         static_cast<cudaStream_t>(stream), step));
}

template <class Problem>
const char* launch_blocks(void (*kernel)(Problem), Problem problem, const PersistentPlan& plan,
                          Stream stream) {
  problem.shares = {plan.slices, plan.pitch};
  return error_of(launch(kernel, dim3(static_cast<unsigned>(plan.blocks)), dim3(plan.threads),
                         static_cast<size_t>(plan.shared_bytes), static_cast<cudaStream_t>(stream),
                         problem));
}

}  // namespace fused_rnn::cuda
