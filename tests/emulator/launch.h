// Launches: launch(kernel, grid, block, shared_bytes, stream, arguments...) runs the kernel to its
// end. It returns what a driver says of the launch itself, and throws Error if the kernel fails.
#pragma once
#include "emulator/runtime.h"

namespace emulator {

template <class... Parameters, class... Arguments>
cudaError_t launch_shape(const LaunchShape& shape, void (*kernel)(Parameters...),
                         const Arguments&... arguments) {
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "a kernel's parameters have 4 KiB at most");
  // Each thread has its own copy of them, and making it is no access of the kernel.
  auto thread = [&]() __attribute__((no_sanitize("thread"))) {
    kernel(static_cast<Parameters>(arguments)...);
  };
  return run(shape, [](void* body) { (*static_cast<decltype(thread)*>(body))(); }, &thread);
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t, Arguments... arguments) {
  return launch_shape({grid, block, shared_bytes, false}, kernel, arguments...);
}

// All blocks are alive together, so they may wait for each other.
template <class... Parameters, class... Arguments>
cudaError_t launch_cooperative(void (*kernel)(Parameters...), dim3 grid, dim3 block,
                               size_t shared_bytes, cudaStream_t, Arguments... arguments) {
  return launch_shape({grid, block, shared_bytes, true}, kernel, arguments...);
}

}  // namespace emulator
