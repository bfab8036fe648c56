// The CUDA device as PyTorch and the CUDA runtime see it.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <mutex>
#include <vector>

#include "torch/compositions.h"
#include "torch/cuda.h"

namespace fused_rnn {

cuda::DeviceLimits device_limits(c10::Device device) {
  static std::vector<cuda::DeviceLimits> known(c10::cuda::device_count());
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  cuda::DeviceLimits& limits = known.at(device.index());
  if (limits.multiprocessors == 0) {
    int shared_bytes = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                          device.index()));
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&limits.multiprocessors, cudaDevAttrMultiProcessorCount,
                                          device.index()));
    limits.shared_bytes = shared_bytes;
  }
  return limits;
}

cuda::Stream current_stream(c10::Device device) {
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
}

TORCH_LIBRARY_IMPL(fused_rnn, CUDA, m) {
  register_cuda_forward(m);
  register_cuda_backward(m);
  m.impl("linear", Kernel<Linear, aten_linear>::call);
  m.impl("linear_backward", Kernel<LinearBackward, aten_linear_backward>::call);
}

}  // namespace fused_rnn
