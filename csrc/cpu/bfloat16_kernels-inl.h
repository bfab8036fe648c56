// The kernels of an instruction set that has its own for bfloat16 alone.
#pragma once
#include "cpu/run-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

extern const BFloat16Kernels kKernels;
const BFloat16Kernels kKernels = {forward<float, BFloat16Pair>, backward<float, BFloat16Pair>};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
