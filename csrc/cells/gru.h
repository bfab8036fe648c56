// The GRU whose reset gate follows the matrix product, as torch.nn and cuDNN have it: K. Cho et
// al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014 (arXiv:1406.1078,
// version 1).
#pragma once
#include "cells/cell.h"

namespace fused_rnn {

struct Gru : InTwoParts<Gru> {
  static constexpr const char* kName = "gru";
  static constexpr int kGates = 3;  // r, z, n
  static constexpr int kTape = 4;   // r, z, the recurrent part of n before the reset, and n
  static constexpr int kPrepared = 3;
  static constexpr bool kHasC = false, kSameGates = false, kProjects = false;
  static constexpr bool kReadsBefore = true, kReadsAfter = false;

  template <class X, class T>
  FR_FN static auto prepare(const X* x, const T* r, State<T>, T* tape) {
    const T reset = sigmoid(x[0] + r[0]), z = sigmoid(x[1] + r[1]);
    tape[0] = reset, tape[1] = z, tape[2] = r[2];
    const auto argument = x[2] + reset * r[2];
    return Last<std::decay_t<decltype(argument)>, T>{argument, z};
  }
  template <class X, class T>
  FR_FN static State<T> finish(Last<X, T> last, State<T> before, T* tape) {
    const T n = tape[3] = tanh(last.argument);
    return {n + last.gate * (before.h - n), T{}};
  }

  template <class T>
  FR_FN static void recall(const T* tape, State<T>, T* x, T* r) {
    x[0] = tape[0], x[1] = tape[1], x[2] = tape[3];
    r[2] = tape[2];
  }

  template <class T>
  FR_FN static State<T> step_backward(const T* tape, State<T> before, State<T>, State<T> grad,
                                      T* dx, T* dr) {
    constexpr Element<T> one = 1;
    const T reset = tape[0], z = tape[1], r_n = tape[2], n = tape[3];
    dx[2] = grad.h * (one - z) * (one - n * n);
    dr[2] = dx[2] * reset;
    dr[0] = dx[0] = dx[2] * r_n * reset * (one - reset);
    dr[1] = dx[1] = grad.h * (before.h - n) * z * (one - z);
    return {grad.h * z, T{}};
  }
};

}  // namespace fused_rnn
