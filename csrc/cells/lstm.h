// The LSTM with forget gate: S. Hochreiter and J. Schmidhuber, Long short-term memory, Neural
// Computation 9 (1997); F. Gers et al., Learning to forget, Neural Computation 12 (2000).
#pragma once
#include "cells/cell.h"

namespace fused_rnn {

struct Lstm : InTwoParts<Lstm> {
  static constexpr const char* kName = "lstm";
  static constexpr int kGates = 4, kTape = 4, kPrepared = 4;  // i, f, g, o
  static constexpr bool kHasC = true, kSameGates = true, kProjects = true;
  static constexpr bool kReadsBefore = false, kReadsAfter = false;

  template <class X, class T>
  FR_FN static Last<T, T> prepare(const X* x, const T* r, State<T> before, T* tape) {
    const T i = sigmoid(x[0] + r[0]), f = sigmoid(x[1] + r[1]);
    const T g = tanh(x[2] + r[2]), o = sigmoid(x[3] + r[3]);
    tape[0] = i, tape[1] = f, tape[2] = g, tape[3] = o;
    return {f * before.c + i * g, o};
  }
  template <class T>
  FR_FN static State<T> finish(Last<T, T> c, State<T>, T*) {
    return {c.gate * tanh(c.argument), c.argument};
  }

  template <class T>
  FR_FN static void recall(const T* tape, State<T>, T* x, T*) {
    for (int g = 0; g < kGates; ++g) x[g] = tape[g];
  }

  // h from the tape and c: what a projection's gradient needs again.
  template <class T>
  FR_FN static T hidden(const T* tape, T c) {
    return finish(Last<T, T>{c, tape[3]}, State<T>{}, static_cast<T*>(nullptr)).h;
  }

  template <class T>
  FR_FN static State<T> step_backward(const T* tape, State<T> before, State<T> after, State<T> grad,
                                      T* dx, T*) {
    constexpr Element<T> one = 1;
    const T i = tape[0], f = tape[1], g = tape[2], o = tape[3], tanh_c = tanh(after.c);
    const T dc = grad.c + grad.h * o * (one - tanh_c * tanh_c);
    dx[0] = dc * g * i * (one - i);
    dx[1] = dc * before.c * f * (one - f);
    dx[2] = dc * i * (one - g * g);
    dx[3] = grad.h * tanh_c * o * (one - o);
    return {T{}, dc * f};
  }
};

}  // namespace fused_rnn
