// What a tile multiplies and where its result goes.
#pragma once
#include "cpu/simd-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class T, int kStep = 1>
struct Left {  // the left operand; kStep is the stride of k
  const T* data;
  int64_t row;  // stride
};

template <class T>
struct Panel {  // the right operand, [k][V][lanes]
  const T* data;
  int64_t row;  // stride of k: V * lanes where it is packed
};

template <class T, int kStep = 1>
struct Term {  // a[rows][k] @ panel[k][V][lanes]
  Left<T, kStep> a;
  Panel<T> panel;
  int64_t k;
};

constexpr int kMaxTerms = 2;

template <class T>
struct Rows {  // rows of V vectors: the accumulators' start or result
  T* data;
  int64_t row;  // stride; 0 repeats one row
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
