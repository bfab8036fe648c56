// What the driver of a device refuses to launch.
#include "emulator/scheduler.h"

namespace emulator {

cudaError_t refusal(const LaunchShape& shape) {
  const dim3 grid = shape.grid, block = shape.block;
  if (count(block) == 0 || count(block) > 1024 || block.x > 1024 || block.y > 1024 ||
      block.z > 64 || count(grid) == 0 || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535 ||
      shape.shared_bytes > options.max_shared_bytes) {
    return cudaErrorInvalidConfiguration;
  }
  if (shape.cooperative && count(grid) > options.cooperative_blocks) {
    return cudaErrorCooperativeLaunchTooLarge;
  }
  return cudaSuccess;
}

}  // namespace emulator
