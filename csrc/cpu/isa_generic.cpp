// The kernels for the compiler's default target: SSE2 on x86-64, NEON on aarch64.
#include "cpu/before_target.h"
#define FUSED_RNN_ISA generic
#define FUSED_RNN_VECTOR_BYTES 16
#include "cpu/kernels-inl.h"
