// Instructions of x86 that the vector extension has no words for: parts of vectors, and bounds.
#pragma once

namespace fused_rnn::cpu::FUSED_RNN_ISA {

#if defined(__x86_64__) && FUSED_RNN_VECTOR_BYTES == 64

constexpr bool kMasked = true;  // there are masked_load and masked_store of the first n lanes

FR_FN Vec<float> masked_load(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1 << n) - 1), p);
}
FR_FN Vec<double> masked_load(const double* p, int64_t n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1 << n) - 1), p);
}
FR_FN Vec<BFloat16Pair> masked_load(const BFloat16Pair* p, int64_t n) {
  return (Vec<BFloat16Pair>)_mm512_maskz_loadu_epi32(static_cast<__mmask16>((1 << n) - 1), p);
}
FR_FN void masked_store(float* p, int64_t n, Vec<float> v) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1 << n) - 1), v);
}
FR_FN void masked_store(double* p, int64_t n, Vec<double> v) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1 << n) - 1), v);
}

// max and min return their second operand where one is NaN. (Masked by all ones: gcc 12 warns of the
// others, in its own header.)
FR_FN Vec<float> larger(Vec<float> low, Vec<float> x) {
  return _mm512_maskz_max_ps(0xffff, low, x);
}
FR_FN Vec<double> larger(Vec<double> low, Vec<double> x) {
  return _mm512_maskz_max_pd(0xff, low, x);
}
FR_FN Vec<float> smaller(Vec<float> high, Vec<float> x) {
  return _mm512_maskz_min_ps(0xffff, high, x);
}
FR_FN Vec<double> smaller(Vec<double> high, Vec<double> x) {
  return _mm512_maskz_min_pd(0xff, high, x);
}

#elif defined(__x86_64__) && FUSED_RNN_VECTOR_BYTES == 32

constexpr bool kMasked = true;

FR_FN __m256i first_lanes(const float*, int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FR_FN __m256i first_lanes(const double*, int64_t n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
FR_FN Vec<float> masked_load(const float* p, int64_t n) {
  return _mm256_maskload_ps(p, first_lanes(p, n));
}
FR_FN Vec<double> masked_load(const double* p, int64_t n) {
  return _mm256_maskload_pd(p, first_lanes(p, n));
}
FR_FN Vec<BFloat16Pair> masked_load(const BFloat16Pair* p, int64_t n) {
  return (Vec<BFloat16Pair>)masked_load(reinterpret_cast<const float*>(p), n);
}
FR_FN void masked_store(float* p, int64_t n, Vec<float> v) {
  _mm256_maskstore_ps(p, first_lanes(p, n), v);
}
FR_FN void masked_store(double* p, int64_t n, Vec<double> v) {
  _mm256_maskstore_pd(p, first_lanes(p, n), v);
}

FR_FN Vec<float> larger(Vec<float> low, Vec<float> x) { return _mm256_max_ps(low, x); }
FR_FN Vec<double> larger(Vec<double> low, Vec<double> x) { return _mm256_max_pd(low, x); }
FR_FN Vec<float> smaller(Vec<float> high, Vec<float> x) { return _mm256_min_ps(high, x); }
FR_FN Vec<double> smaller(Vec<double> high, Vec<double> x) { return _mm256_min_pd(high, x); }

#else

constexpr bool kMasked = false;

#endif

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA

#if defined(__x86_64__) && FUSED_RNN_VECTOR_BYTES > 16
namespace fused_rnn {

template <class V>
  requires(sizeof(V) == FUSED_RNN_VECTOR_BYTES)
struct Bound<V> {
  FR_FN static V below(V low, V x) { return cpu::FUSED_RNN_ISA::larger(low, x); }
  FR_FN static V above(V high, V x) { return cpu::FUSED_RNN_ISA::smaller(high, x); }
};

}  // namespace fused_rnn
#endif
