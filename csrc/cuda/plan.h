// Which kernel runs, in what shape: pure functions of the problem and the device.
//
// The step path (a matrix product and a kernel each step) takes every problem. A persistent kernel
// runs the whole sequence in one launch where weight_hh fits a block's shared memory; its blocks
// divide the batch and never meet. Inside a block `slices` neighbouring lanes share the dot products
// of a unit, for `rows` sequences at once.
#pragma once
#include <cstdint>
#include <optional>

namespace fused_rnn::cuda {

struct DeviceLimits {
  int multiprocessors;
  int64_t shared_bytes;  // that a block may ask for; 0: no persistent kernels
};

struct Shape {
  int gates;
  int64_t batch, hidden;
  int element_size, compute_size;  // bytes of a number, stored and computed with
};

struct PersistentPlan {
  int rows;       // sequences of a block: 1 or kRows
  int slices;     // a power of two, at least rows
  int64_t pitch;  // elements from one row of the weights in shared memory to the next
  int threads;    // of a block, whole warps
  int64_t blocks, shared_bytes;
};

constexpr int kRows = 4;
constexpr int kPersistentThreads = 512;  // of a block at most

// None: the step path.
std::optional<PersistentPlan> plan_forward(const Shape& shape, const DeviceLimits& device);
std::optional<PersistentPlan> plan_backward(const Shape& shape, const DeviceLimits& device);

// The threads of a step's kernel, `width` units each, which divides hidden: x goes over units, y over
// sequences in a block, and the other way round in the grid, whose x has no limit to speak of.
struct StepPlan {
  int block_x, block_y;
  int64_t grid_x, grid_y;
};
StepPlan plan_step(int64_t size, int64_t hidden, int width);

}  // namespace fused_rnn::cuda
