// The CUDA half's side of PyTorch. What differs between a device and its emulation in the tests are
// the two functions on it, and the dispatch key that the kernels are registered for.
#pragma once
#include <torch/library.h>

#include "cuda/launch.h"

namespace fused_rnn {

void register_cuda_forward(torch::Library& m);
void register_cuda_backward(torch::Library& m);

cuda::DeviceLimits device_limits(c10::Device device);
cuda::Stream current_stream(c10::Device device);

}  // namespace fused_rnn
