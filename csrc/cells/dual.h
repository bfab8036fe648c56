// A value and its derivative along one direction: arithmetic on duals is forward-mode
// differentiation, so that a cell run on Dual<T> yields its tangent, and the tangent of its
// backward step; on Known<T>, where its activations are known, it makes the tangent alone.
#pragma once
#include "cells/numeric.h"

namespace fused_rnn {

template <class T>
struct Dual {
  T value, tangent;
};

template <class T>
struct ValueTraits<Dual<T>> {
  using Element = fused_rnn::Element<T>;
};

template <class T>
FR_FN Dual<T> operator+(Dual<T> a, Dual<T> b) {
  return {a.value + b.value, a.tangent + b.tangent};
}
template <class T>
FR_FN Dual<T> operator-(Dual<T> a, Dual<T> b) {
  return {a.value - b.value, a.tangent - b.tangent};
}
template <class T>
FR_FN Dual<T> operator-(Element<T> a, Dual<T> b) {
  return {a - b.value, -b.tangent};
}
template <class T>
FR_FN Dual<T> operator*(Dual<T> a, Dual<T> b) {
  return {a.value * b.value, a.tangent * b.value + a.value * b.tangent};
}

// What goes into an activation whose value is known: that value, and the argument's tangent.
template <class T>
struct Known {
  T value, tangent;
};

template <class T>
FR_FN Known<T> operator+(Known<T> a, Dual<T> b) {
  return {a.value, a.tangent + b.tangent};
}

template <class T>
FR_FN Dual<T> sigmoid(Known<T> x) {
  return {x.value, x.tangent * x.value * (Element<T>(1) - x.value)};
}
template <class T>
FR_FN Dual<T> tanh(Known<T> x) {
  return {x.value, x.tangent * (Element<T>(1) - x.value * x.value)};
}
template <class T>
FR_FN Dual<T> relu(Known<T> x) {
  return {x.value, x.tangent * relu_slope(x.value)};
}

template <class T>
FR_FN Dual<T> sigmoid(Dual<T> x) {
  return sigmoid(Known<T>{sigmoid(x.value), x.tangent});
}
template <class T>
FR_FN Dual<T> tanh(Dual<T> x) {
  return tanh(Known<T>{tanh(x.value), x.tangent});
}
template <class T>
FR_FN Dual<T> relu(Dual<T> x) {
  return relu(Known<T>{relu(x.value), x.tangent});
}
template <class T>
FR_FN Dual<T> relu_slope(Dual<T> y) {
  return {relu_slope(y.value), T{}};
}

}  // namespace fused_rnn
