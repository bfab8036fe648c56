// Elman's network, h' = f(x + r): J. L. Elman, Finding structure in time, Cognitive Science 14
// (1990).
#pragma once
#include "cells/cell.h"

namespace fused_rnn {

struct Tanh {
  template <class X>
  FR_FN static auto value(X x) {
    return tanh(x);
  }
  template <class T>
  FR_FN static T slope(T y) {  // from the value
    return Element<T>(1) - y * y;
  }
};

struct Relu {
  template <class X>
  FR_FN static auto value(X x) {
    return relu(x);
  }
  template <class T>
  FR_FN static T slope(T y) {
    return relu_slope(y);
  }
};

template <class Activation>
struct Rnn {
  static constexpr int kGates = 1, kTape = 0;  // h' itself says all that backward needs
  static constexpr bool kHasC = false, kSameGates = true, kProjects = false;
  static constexpr bool kReadsBefore = false, kReadsAfter = true;

  template <class X, class T>
  FR_FN static State<T> step(const X* x, const T* r, State<T>, T*) {
    return {Activation::value(x[0] + r[0]), T{}};
  }

  template <class T>
  FR_FN static void recall(const T*, State<T> after, T* x, T*) {
    x[0] = after.h;
  }

  template <class T>
  FR_FN static State<T> step_backward(const T*, State<T>, State<T> after, State<T> grad, T* dx,
                                      T*) {
    dx[0] = grad.h * Activation::slope(after.h);
    return {T{}, T{}};
  }
};

struct RnnTanh : Rnn<Tanh> {
  static constexpr const char* kName = "rnn_tanh";
};
struct RnnRelu : Rnn<Relu> {
  static constexpr const char* kName = "rnn_relu";
};

}  // namespace fused_rnn
