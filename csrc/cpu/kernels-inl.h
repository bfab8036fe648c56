// The kernels of one instruction set: its row of functions, each a parallel region over a pass.
#pragma once
#include "cpu/backward-inl.h"
#include "cpu/forward-inl.h"

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

template <class T>
void forward(int row, const Forward<T>& args) {
  Cells::visit(row, [&](auto cell) {
    ForwardPass<decltype(cell), T> pass(args);
    parallel(args.problem.threads, [&](int thread, int count) {
      pass.pack(thread, count);
      if (count > 1) barrier();
      pass.run(thread, count);
    });
  });
}

template <class T>
void backward(int row, const Backward<T>& args) {
  Cells::visit(row, [&](auto cell) {
    BackwardPass<decltype(cell), T> pass(args);
    parallel(args.problem.threads, [&](int thread, int count) {
      pass.pack(thread, count);
      if (count > 1) barrier();
      pass.run(thread, count);
      if (count > 1) barrier();
      pass.weights(thread, count);
    });
  });
}

}  // namespace

extern const KernelTable kTable;
const KernelTable kTable = {{forward<float>, backward<float>}, {forward<double>, backward<double>}};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
