// A value and its derivative along one direction: arithmetic on duals is forward-mode
// differentiation, so that a cell run on Dual<T> yields its tangent, and the tangent of its
// backward step.
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

template <class T>
FR_FN Dual<T> sigmoid(Dual<T> x) {
  const T y = sigmoid(x.value);
  return {y, x.tangent * y * (Element<T>(1) - y)};
}
template <class T>
FR_FN Dual<T> tanh(Dual<T> x) {
  const T y = tanh(x.value);
  return {y, x.tangent * (Element<T>(1) - y * y)};
}
template <class T>
FR_FN Dual<T> relu(Dual<T> x) {
  return {relu(x.value), x.tangent * relu_slope(x.value)};
}
template <class T>
FR_FN Dual<T> relu_slope(Dual<T> y) {
  return {relu_slope(y.value), T{}};
}

}  // namespace fused_rnn
