#include "cpu/before_target.h"
#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(                                                          \
    __attribute__((target("avx512bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), \
    apply_to = function)
#else
#pragma GCC target("avx512bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
#define FUSED_RNN_ISA avx512_bf16
#define FUSED_RNN_VECTOR_BYTES 64
#define FUSED_RNN_BF16_INSTRUCTIONS
#include "cpu/bfloat16_kernels-inl.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
