#include "cpu/before_target.h"
#if defined(__x86_64__)
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define FUSED_RNN_ISA avx2
#define FUSED_RNN_VECTOR_BYTES 32
#include "cpu/kernels-inl.h"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
