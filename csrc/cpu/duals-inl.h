// Arrays with a tangent beside every value, and their products with a weight that has one too.
#pragma once
#include "cells/dual.h"
#include "cpu/matrix-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

// Values and their tangents, two arrays of one shape. Null is zero.
template <class T>
struct Duals {
  T *value, *tangent;

  FR_FN Duals at(int64_t n) const { return {offset(value, n), offset(tangent, n)}; }
  FR_FN operator Duals<const T>() const { return {value, tangent}; }
};

template <class T, class Lanes>
FR_FN Dual<Vec<std::remove_const_t<T>>> load(Duals<T> from, Lanes lanes) {
  using V = Vec<std::remove_const_t<T>>;
  return {from.value ? load(from.value, lanes) : V{},
          from.tangent ? load(from.tangent, lanes) : V{}};
}
template <class T, class Lanes>
FR_FN void store(Duals<T> to, Dual<Vec<T>> v, Lanes lanes) {
  store(to.value, v.value, lanes);
  store(to.tangent, v.tangent, lanes);
}

template <class T>
FR_FN void copy(Duals<T> to, std::type_identity_t<Duals<const T>> from, int64_t n) {
  copy(to.value, from.value, n);
  copy(to.tangent, from.tangent, n);
}

template <class T>
class DualBuffer {
 public:
  explicit DualBuffer(int64_t size) : value_(size), tangent_(size) {}
  operator Duals<T>() const { return {value_, tangent_}; }
  Duals<T> at(int64_t n) const { return Duals<T>(*this).at(n); }

 private:
  Buffer<T> value_, tangent_;
};

// A weight as the right operand of products of duals.
template <class T>
class DualMatrix {
 public:
  DualMatrix(int64_t k, int64_t columns, Duals<const T> weight, bool transposed)
      : k_(k),
        columns_(columns),
        weight_(weight),
        transposed_(transposed),
        value_(k, weight.value ? columns : 0),
        tangent_(k, weight.tangent ? columns : 0) {}

  void pack(int thread, int count) {
    pack(value_, weight_.value, thread, count);
    pack(tangent_, weight_.tangent, thread, count);
  }

  // out[rows][columns] = init + a[rows][k] @ the matrix; rows of init are `init_row` apart.
  void multiply(int64_t rows, Duals<const T> a, Duals<const T> init, int64_t init_row,
                Duals<T> out) const {
    if (rows <= 0) return;
    value_.multiply_all(rows, a.value, {init.value, init_row}, out.value);
    tangents(rows, a, {init.tangent, init_row}, out.tangent);
  }

  // The tangents of that alone.
  void tangents(int64_t rows, Duals<const T> a, Rows<const T> sum, T* out) const {
    const auto add = [&](const RightMatrix<T>& matrix, const T* left) {
      matrix.multiply_all(rows, left, sum, out);
      sum = {out, columns_};
    };
    if (a.tangent) add(value_, a.tangent);
    if (weight_.tangent) add(tangent_, a.value);
    for (int64_t r = 0; sum.data != out && r < rows; ++r) {
      copy(out + r * columns_, offset(sum.data, r * sum.row), columns_);
    }
  }

 private:
  void pack(RightMatrix<T>& matrix, const T* weight, int thread, int count) const {
    if (!weight) return;
    transposed_ ? matrix.pack_transpose_of(weight, thread, count)
                : matrix.pack(weight, thread, count);
  }

  const int64_t k_, columns_;
  const Duals<const T> weight_;
  const bool transposed_;
  RightMatrix<T> value_, tangent_;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
