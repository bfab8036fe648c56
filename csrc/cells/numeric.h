// The elementary functions of every cell, branch-free, over a value type T: a float, a double, or a
// vector of them (GCC vector extension). Each is within 4 ULP of the true value wherever that is a
// normal number, tanh of a double within 5; NaN goes through, infinities and signed zeros are exact
// (tests/cpp/test_numeric.cpp).
#pragma once
#include <cstdint>
#include <type_traits>

#define FR_HOST_FN inline __attribute__((always_inline))
#if defined(__CUDACC__)
#define FR_FN __host__ __device__ __forceinline__
#else
#define FR_FN FR_HOST_FN
#endif

namespace fused_rnn {

template <class T>
struct ValueTraits {  // a vector type: what a lane is, and integers beside it
  using Element = std::remove_cv_t<std::remove_reference_t<decltype(T{}[0])>>;
  using Bits = decltype(T{} < T{});
};
template <>
struct ValueTraits<float> {
  using Element = float;
  using Bits = int32_t;
};
template <>
struct ValueTraits<double> {
  using Element = double;
  using Bits = int64_t;
};
template <class T>
using Element = typename ValueTraits<T>::Element;

template <class To, class From>
FR_FN To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

template <class T>
FR_FN T splat(Element<T> x) {
  return x - T{};  // not T{} + x, which turns -0 into +0
}

// The larger and the smaller of a bound and x; x where it is NaN. Specialised for the vectors of a
// target that has instructions for them, which compilers do not find here.
template <class T>
struct Bound {
  FR_FN static T below(T low, T x) { return x < low ? low : x; }
  FR_FN static T above(T high, T x) { return x > high ? high : x; }
};

template <class T>
FR_FN T clamp(T x, Element<T> low, Element<T> high) {
  return Bound<T>::above(splat<T>(high), Bound<T>::below(splat<T>(low), x));
}

// The constants of exp in each precision: ln 2 in two parts (the first exact times any exponent),
// and 1.5 * 2^(mantissa bits) + the exponent's bias, which added to a number rounds it to an integer and
// leaves that, with the bias, in the low bits.
template <class E>
struct ExpConstants;
template <>
struct ExpConstants<float> {
  static constexpr float kRound = 12582912.f + 127, kLn2High = 0.693145751953125f,
                         kLn2Low = 1.42860682e-6f;
  static constexpr float kLow = -87.f, kHigh = 89.f, kTanhHigh = 20.f;
  static constexpr int kMantissa = 23;
};
template <>
struct ExpConstants<double> {
  static constexpr double kRound = 6755399441055744. + 1023, kLn2High = 0.693145751953125,
                          kLn2Low = 1.42860682030941723212e-6;
  static constexpr double kLow = -708., kHigh = 710., kTanhHigh = 40.;
  static constexpr int kMantissa = 52;
};

// exp(r) - 1 for |r| <= ln(2) / 2, with a small relative error. float: r + r^2 q(r) with the minimax q
// of degree 4, error 2^-25.8 (scripts/expm1_minimax.py), in halves that do not wait for each other; double:
// the form of the Cephes library (S. Moshier, netlib.org/cephes: double/exp.c).
template <class T>
FR_FN T expm1_reduced(T r) {
  const T r2 = r * r;
  if constexpr (sizeof(Element<T>) == 4) {
    const T high = r2 * 1.3882521307e-3f + (r * 8.3665205166e-3f + 4.1667200625e-2f);
    const T low = r * 1.6666543484e-1f + 4.9999997020e-1f;
    return (high * r2 + low) * r2 + r;
  } else {
    const T p = r * ((r2 * 1.26177193074810590878e-4 + 3.02994407707441961300e-2) * r2 + 1.);
    T q = r2 * 3.00198505138664455042e-6 + 2.52448340349684104192e-3;
    q = (q * r2 + 2.27265548208155028766e-1) * r2 + 2.;
    return (p + p) / (q - p);
  }
}

template <class T>
struct Exp {  // exp(x) = scale * (1 + m), scale a power of two
  T scale, m;
};

// x is at most kHigh, where the scale is infinite, and at least kLow. With kOneLn2 the relative error of exp
// grows by up to 2^-28 |x| (double: 2^-54 |x|), and without fused multiply-add to 2^-24 |x| (2^-53 |x|).
template <bool kOneLn2 = false, class T>
FR_FN Exp<T> exp_parts(T x) {
  using C = ExpConstants<Element<T>>;
  using Bits = typename ValueTraits<T>::Bits;
  const T rounded = x * Element<T>(1.44269504088896340736) + C::kRound;
  const T n = rounded - C::kRound;
  const T r = kOneLn2 ? x - n * (C::kLn2High + C::kLn2Low) : (x - n * C::kLn2High) - n * C::kLn2Low;
  return {bit_cast<T>(bit_cast<Bits>(rounded) << C::kMantissa), expm1_reduced(r)};
}

// 1 / (1 + exp(-x)). Below the smallest normal number it may be flushed to zero.
template <class T>
FR_FN T sigmoid(T x) {
  using C = ExpConstants<Element<T>>;
  // Negated after the bounds, where the multiply-adds take it up.
  const Exp<T> e = exp_parts(-clamp(x, -C::kHigh, -C::kLow));
  return Element<T>(1) / (Element<T>(1) + e.scale * (Element<T>(1) + e.m));
}

// expm1(2|x|) / (expm1(2|x|) + 2) with the sign of x: exactly odd, and exact to the last bits near
// zero. One ln 2 is enough: near zero none is taken away, and beyond, the error of exp(2|x|) is divided by
// sinh(2|x|).
template <class T>
FR_FN T tanh(T x) {
  using C = ExpConstants<Element<T>>;
  using Bits = typename ValueTraits<T>::Bits;
  const Bits sign_bit = bit_cast<Bits>(splat<T>(-Element<T>(0)));
  const Bits sign = bit_cast<Bits>(x) & sign_bit;
  const T magnitude = bit_cast<T>(bit_cast<Bits>(x) & ~sign_bit);
  const T bounded = Bound<T>::above(splat<T>(C::kTanhHigh), magnitude + magnitude);
  const Exp<T> e = exp_parts<true>(bounded);
  const T m = e.scale * e.m + (e.scale - Element<T>(1));
  return bit_cast<T>(bit_cast<Bits>(m / (m + Element<T>(2))) | sign);
}

template <class T>
FR_FN T relu(T x) {
  return x < Element<T>(0) ? T{} : x;
}
// The derivative of relu, from its value.
template <class T>
FR_FN T relu_slope(T y) {
  return y > Element<T>(0) ? splat<T>(1) : T{};
}

}  // namespace fused_rnn
