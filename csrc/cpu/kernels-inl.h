// The kernels of one instruction set: its row of functions, each a parallel region over a pass.
#pragma once
#include "cpu/backward-inl.h"
#include "cpu/forward-inl.h"
#include "cpu/linear-inl.h"
#include "cpu/peak-inl.h"
#include "cpu/second-inl.h"

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
  });
  if (out_of_memory) throw std::bad_alloc();
}

template <class T>
void forward(int row, const Forward<T>& args) {
  Cells::visit(row, [&](auto cell) {
    ForwardPass<decltype(cell), T> pass(args);
    run(pass, static_cast<int>(min(args.problem.threads, pass.shares())));
  });
}

template <class T>
int64_t packed_size(int row, int64_t hidden, int64_t k) {
  int64_t size = 0;
  Cells::visit(row, [&](auto cell) {
    const GatePanels<decltype(cell), T> panels(hidden);
    size = panels.count() * panels.stride(k);
  });
  return size;
}

template <class T>
void pack(int row, int64_t hidden, int64_t k, const T* weight, T* packed) {
  Cells::visit(row, [&](auto cell) {
    const GatePanels<decltype(cell), T> panels(hidden);
    for (int64_t p = 0; p < panels.count(); ++p) {
      panels.pack(p, weight, k, packed + p * panels.stride(k));
    }
  });
}

template <class T>
void backward(int row, const Backward<T>& args) {
  Cells::visit(row, [&](auto cell) {
    BackwardPass<decltype(cell), T> pass(args);
    run(pass, static_cast<int>(min(args.problem.threads, pass.shares())));
  });
}

template <class T>
void second(int row, const Second<T>& args) {
  Cells::visit(row, [&](auto cell) {
    SecondPass<decltype(cell), T> pass(args);
    run(pass, static_cast<int>(min(args.problem.threads, pass.shares())));
  });
}

template <class T>
void linear(const Linear<T>& args) {
  LinearPass<T> pass(args);
  run(pass, args.threads);
}

template <class T>
void linear_backward(const LinearBackward<T>& args) {
  LinearBackwardPass<T> pass(args);
  run(pass, args.threads);
}

template <class T>
constexpr Kernels<T> kKernels = {forward<T>, packed_size<T>,     pack<T>,    backward<T>, second<T>,
                                 linear<T>,  linear_backward<T>, saturate<T>};

}  // namespace

extern const KernelTable kTable;
const KernelTable kTable = {kKernels<float>, kKernels<double>};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
