// sigmoid and tanh against the same functions in long double, in units in the last place (ULP) of the
// true value: over a dense sweep of the argument, at special values, and a vector lane for lane.
#include <cmath>
#include <cstdio>
#include <limits>

#include "cells/numeric.h"

namespace {

using fused_rnn::sigmoid;

int failures = 0;

void expect(bool ok, const char* what, double x, double got) {
  if (ok) return;
  ++failures;
  std::printf("FAILED %s at x = %.17g: got %.17g\n", what, x, got);
}

long double true_sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }
long double true_tanh(long double x) { return std::tanh(x); }

template <class T>
double ulp(T got, long double truth) {
  int exponent;
  std::frexp(truth, &exponent);
  const int lowest = std::numeric_limits<T>::min_exponent;
  const int digits = std::numeric_limits<T>::digits;
  return std::abs(
      static_cast<double>((got - truth) / std::ldexp(1.0L, std::max(exponent, lowest) - digits)));
}

// Arguments whose sigmoid is a normal number, evenly in value and, near zero, in exponent.
template <class T, class F>
void sweep(F f) {
  const T range = sizeof(T) == 4 ? 87 : 708;
  const int count = 2'000'000;
  for (int i = 0; i <= count; ++i)
    f(static_cast<T>(-range + 2 * range * (i / static_cast<double>(count))));
  for (T x = range; x > std::numeric_limits<T>::min(); x *= T(0.99)) f(x), f(-x);
}

template <class T>
void accuracy(const char* type) {
  double worst_sigmoid = 0, worst_tanh = 0;
  sweep<T>([&](T x) {
    worst_sigmoid = std::max(worst_sigmoid, ulp(sigmoid(x), true_sigmoid(x)));
    worst_tanh = std::max(worst_tanh, ulp(fused_rnn::tanh(x), true_tanh(x)));
  });
  double worst_below_one = 0;  // where tanh's error is largest, in smaller steps
  for (T x = 1; x > T(1) / 256; x *= T(1 - 1e-5)) {
    worst_below_one = std::max(worst_below_one, ulp(fused_rnn::tanh(x), true_tanh(x)));
  }
  std::printf("%-6s  sigmoid %.2f ULP  tanh %.2f ULP  tanh below 1 %.2f ULP\n", type, worst_sigmoid,
              worst_tanh, worst_below_one);
  expect(worst_sigmoid < 4, "sigmoid's error in ULP", 0, worst_sigmoid);
  expect(worst_tanh < 4, "tanh's error in ULP", 0, worst_tanh);
  expect(worst_below_one < (sizeof(T) == 4 ? 4 : 5), "tanh's error in ULP below 1", 1,
         worst_below_one);
}

template <class T>
void special_values() {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T tiny = std::numeric_limits<T>::denorm_min(), big = std::numeric_limits<T>::max();
  const struct {
    T x, sigmoid, tanh;
  } rows[] = {{0, T(0.5), 0}, {-T(0), T(0.5), -T(0)}, {inf, 1, 1},          {-inf, 0, -1},
              {big, 1, 1},    {-big, 0, -1},          {tiny, T(0.5), tiny}, {-tiny, T(0.5), -tiny}};
  for (const auto& row : rows) {
    expect(sigmoid(row.x) == row.sigmoid, "sigmoid", row.x, sigmoid(row.x));
    const T t = fused_rnn::tanh(row.x);
    expect(t == row.tanh && std::signbit(t) == std::signbit(row.tanh), "tanh", row.x, t);
  }
  expect(std::isnan(sigmoid(nan)), "sigmoid", nan, sigmoid(nan));
  expect(std::isnan(fused_rnn::tanh(nan)), "tanh", nan, fused_rnn::tanh(nan));
  expect(std::isnan(fused_rnn::relu(nan)), "relu", nan, fused_rnn::relu(nan));
  // Between the smallest normal number and zero, flushing is allowed and garbage is not.
  for (T x = std::numeric_limits<T>::max(); x > 80; x *= T(0.999)) {
    expect(sigmoid(-x) >= 0 && sigmoid(-x) < T(1e-30), "sigmoid of a large negative number", -x,
           sigmoid(-x));
  }
}

template <class T>
void vectors() {
  typedef T Vec __attribute__((vector_size(32)));
  constexpr int kLanes = 32 / sizeof(T);
  Vec x = {};
  int lane = 0;
  sweep<T>([&](T value) {
    x[lane] = value;
    if (++lane < kLanes) return;
    lane = 0;
    const Vec s = sigmoid(x), t = fused_rnn::tanh(x);
    for (int i = 0; i < kLanes; ++i) {
      // A scalar and a vector may contract products and sums differently, by a rounding or two.
      expect(ulp(s[i], sigmoid(T(x[i]))) <= 2, "sigmoid of a vector", x[i], s[i]);
      expect(ulp(t[i], fused_rnn::tanh(T(x[i]))) <= 2, "tanh of a vector", x[i], t[i]);
    }
  });
}

}  // namespace

int main() {
  accuracy<float>("float");
  accuracy<double>("double");
  special_values<float>();
  special_values<double>();
  vectors<float>();
  vectors<double>();
  return failures > 0;
}
