// A pass in a parallel region; the recurrence in one, forward and backward.
#pragma once
#include "cpu/backward_projected-inl.h"
#include "cpu/forward_beside-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {
namespace {

// Calls f(thread, count) on every thread of a team. f may use barrier().
template <class F>
void parallel(int threads, const F& f) {
#ifdef _OPENMP
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    f(omp_get_thread_num(), omp_get_num_threads());
    return;
  }
#endif
  static_cast<void>(threads);
  f(0, 1);
}

FR_FN void barrier() {
#ifdef _OPENMP
#pragma omp barrier
#endif
}

// A pass takes the memory of a team, packs, runs and, if it has them, makes the weights' gradients.
// An exception must not leave the region; memory is all that can fail in it.
template <class Pass>
void run(Pass& pass, int threads) {
  bool out_of_memory = false;
  parallel(threads, [&](int thread, int count) {
    if (thread == 0) {
      try {
        pass.allocate(count);
      } catch (const std::bad_alloc&) {
        out_of_memory = true;
      }
    }
    pass.pack(thread, count);
    if (count > 1) barrier();
    if (out_of_memory) return;
    pass.run(thread, count);
    if constexpr (requires { pass.weights(thread, count); }) {
      if (count > 1) barrier();
      pass.weights(thread, count);
    }
    if constexpr (kAmx) release_registers();
  });
  if (out_of_memory) throw std::bad_alloc();
}

template <class T, class S>
void forward(int row, const Forward<T, S>& args) {
  Cells::visit(row, [&](auto cell) {
    ForwardPass<decltype(cell), T, S> pass(args);
    run(pass, static_cast<int>(min(args.problem.threads, pass.shares())));
  });
}

template <class T, class S>
void backward(int row, const Backward<T, S>& args) {
  Cells::visit(row, [&](auto cell) {
    BackwardPass<decltype(cell), T, S> pass(args);
    run(pass, static_cast<int>(min(args.problem.threads, pass.shares())));
  });
}

}  // namespace
}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
