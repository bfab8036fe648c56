// What a kernel may call beside the language, and the only file that knows who compiles it: nvcc, or
// a C++ compiler with the emulator of tests/emulator in the tests. Kernels start through launch(),
// take shared memory from a SharedArena and synchronise with the functions named here alone.
#pragma once
#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "emulator/cuda.h"
#endif

#include <cstddef>
#include <cstdint>

namespace fused_rnn::cuda {

#if defined(__CUDACC__)

constexpr size_t kSharedBytesUnasked = 48 << 10;  // more than this a kernel must ask for

// The most that the device has, whatever a launch needs: other threads set it too.
template <class Kernel>
cudaError_t ask_for_all_shared(Kernel* kernel) {
  int device = 0, most = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  }
  if (error == cudaSuccess) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  }
  return error;
}

// Starts a kernel; says what is wrong with the launch, or cudaSuccess.
template <class Parameters>
cudaError_t launch(void (*kernel)(Parameters), dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, const Parameters& parameters) {
  if (shared_bytes > kSharedBytesUnasked && ask_for_all_shared(kernel) != cudaSuccess) {
    return cudaGetLastError();  // and forget it, or the next launch of anybody would report it
  }
  kernel<<<grid, block, shared_bytes, stream>>>(parameters);
  return cudaGetLastError();
}

// Carves arrays out of the shared memory of a launch, 16 bytes aligned, in the order of the calls.
class SharedArena {
 public:
  template <class T>
  __device__ T* take(size_t count) {
    extern __shared__ __align__(16) unsigned char fused_rnn_shared[];
    const size_t first = (used_ + 15) & ~size_t(15);
    used_ = first + count * sizeof(T);
    return reinterpret_cast<T*>(fused_rnn_shared + first);
  }

 private:
  size_t used_ = 0;
};

// Vector accesses need their alignment, which only the emulator checks.
__device__ __forceinline__ void check_aligned(const void*, size_t) {}

#else

using emulator::check_aligned;
using emulator::launch;
using emulator::SharedArena;

#endif

constexpr unsigned kAllLanes = 0xFFFFFFFFu;

}  // namespace fused_rnn::cuda
