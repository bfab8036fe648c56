#include "cpu/before_target.h"
#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
#define FUSED_RNN_ISA avx512
#define FUSED_RNN_VECTOR_BYTES 64
#include "cpu/kernels-inl.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
