// The projection of the input before the recurrence, a linear layer, and its gradients.
#pragma once
#include "cpu/matrix-inl.h"
#include "cpu/outer-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Rows are taken in blocks, so that the packed weights pass through the cache once a block.
constexpr int64_t kRowBlock = 192;

template <class T>
void multiply_rows(const RightMatrix<T>& matrix, int64_t k, int64_t columns, int64_t rows,
                   const T* a, const T* bias, T* out, int thread, int count) {
  const Range mine = share(rows, thread, count);
  for (int64_t r = mine.first; r < mine.last; r += kRowBlock) {
    matrix.multiply_all(min(kRowBlock, mine.last - r), a + r * k, {bias, 0}, out + r * columns);
  }
}

template <class T>
class LinearPass {
 public:
  explicit LinearPass(const Linear<T>& args) : a_(args), weight_(args.in, args.out) {}

  // The shares of a thread, with a barrier between them.
  void allocate(int) {}
  void pack(int thread, int count) { weight_.pack_transpose_of(a_.weight, thread, count); }
  void run(int thread, int count) {
    multiply_rows(weight_, a_.in, a_.out, a_.rows, a_.input, a_.bias, a_.output, thread, count);
  }

 private:
  const Linear<T>& a_;
  RightMatrix<T> weight_;
};

template <class T>
class LinearBackwardPass {
 public:
  explicit LinearBackwardPass(const LinearBackward<T>& args)
      : a_(args),
        all_{0, args.rows, 0},
        weight_(args.out, args.d_input ? args.in : 0,
                read_seldom(args.rows, 1) ? args.weight : nullptr),
        outer_(&all_, 1, args.rows, args.out, args.d_weight ? args.in : 0) {}

  void allocate(int count) {
    if (a_.d_weight || a_.d_bias) outer_.allocate(count);
  }
  void pack(int thread, int count) { weight_.pack(a_.weight, thread, count); }
  void run(int thread, int count) {
    if (a_.d_input) {
      multiply_rows<T>(weight_, a_.out, a_.in, a_.rows, a_.grad_output, nullptr, a_.d_input, thread,
                       count);
    }
    if (a_.d_weight || a_.d_bias) {
      outer_.run(thread, count, a_.d_weight, a_.d_bias, [&](int64_t, int64_t row) {
        return OuterRow<T>{a_.grad_output + row * a_.out, a_.input + row * a_.in};
      });
    }
  }

 private:
  const LinearBackward<T>& a_;
  const Step all_;
  RightMatrix<T> weight_;
  OuterProduct<T> outer_;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
