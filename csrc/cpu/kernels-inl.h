// The kernels of one instruction set: its row of functions.
#pragma once
#include "cpu/linear-inl.h"
#include "cpu/peak-inl.h"
#include "cpu/run-inl.h"
#include "cpu/second-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {
namespace {

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
constexpr Kernels<T> kKernels = {forward<T, T>,      packed_size<T>,  pack<T>,
                                 backward<T>,        second<T>,       linear<T>,
                                 linear_backward<T>, multiply_adds<T>};

}  // namespace

extern const KernelTable kTable;
const KernelTable kTable = {
    kKernels<float>,
    kKernels<double>,
#if FUSED_RNN_VECTOR_BYTES > 16
    {forward<float, BFloat16Pair>, backward<float, BFloat16Pair>},
#else  // widening pairs would take longer than the products
    {},
#endif
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
