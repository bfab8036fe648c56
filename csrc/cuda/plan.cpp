#include "cuda/plan.h"

#include <algorithm>

namespace fused_rnn::cuda {
namespace {

constexpr int kWarp = 32, kStepThreads = 256;

// What one step costs, in cycles, as docs/gpu.md derives it; a model, never measured.
constexpr double kStepPathCycles = 7500;  // two launches, one after the other
constexpr double kBarrierCycles = 150;    // and h through shared memory
constexpr double kGateCycles = 160;       // of an activation; each waits for the one before
// Instructions of a warp beside the products, and those of each gate; four schedulers issue them.
constexpr double kCellInstructions = 100, kGateInstructions = 65;

// Threads of a block with one row: more lanes would share the dot products, but every warp issues
// all of the cell for the few that own a unit.
constexpr int kSingleRowThreads = 256;

int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }
int64_t round_up(int64_t n, int64_t to) { return divide_up(n, to) * to; }

// The product of a step: `outputs` numbers a unit, each a dot product over `depth` numbers.
struct Product {
  int outputs;
  int64_t depth;
};

// The lanes of a warp read `slices` rows of the weights at once, 32 / slices neighbouring elements
// of each. Rows that start 128 / slices bytes further on, modulo the 128 bytes of all banks, never
// meet in a bank; one row never does.
int64_t pitch_for(int64_t width, int slices, int element_size) {
  if (slices == 1) return width;
  const int64_t banks = 128, start = std::max<int64_t>(element_size, banks / slices) % banks;
  const int64_t bytes = width * element_size;
  return (bytes + (start - bytes % banks + banks) % banks) / element_size;
}

// Of a block, for one step.
double cycles_of(const PersistentPlan& plan, const Product& product, int gates) {
  const double warps = plan.threads / kWarp;
  const double reads = warps * divide_up(product.depth, plan.slices) * (product.outputs + 1);
  const double issued = warps / 4 * (kCellInstructions + kGateInstructions * gates);
  return reads + std::max(issued, kGateCycles * gates) + kBarrierCycles;
}

// None: no room, or the model expects less of the step path.
std::optional<PersistentPlan> plan(const Shape& shape, const Product& product,
                                   const DeviceLimits& device, int rows) {
  const int most_threads = rows == 1 ? kSingleRowThreads : kPersistentThreads;
  PersistentPlan plan{};
  plan.rows = rows;
  plan.slices = kWarp;
  while (plan.slices > 1 && plan.slices * shape.hidden > most_threads) plan.slices /= 2;
  if (plan.slices < rows || shape.hidden > kPersistentThreads) return std::nullopt;
  plan.pitch = pitch_for(product.outputs * shape.hidden, plan.slices, shape.element_size);
  plan.threads = static_cast<int>(round_up(shape.hidden * plan.slices, kWarp));
  plan.blocks = divide_up(shape.batch, rows);
  plan.shared_bytes = round_up(product.depth * plan.pitch * shape.element_size, 16) +
                      2 * product.depth * rows * shape.compute_size;
  const double waves = divide_up(plan.blocks, device.multiprocessors);
  if (plan.shared_bytes > device.shared_bytes ||
      waves * cycles_of(plan, product, shape.gates) > kStepPathCycles) {
    return std::nullopt;
  }
  return plan;
}

// A batch that the multiprocessors can divide among them is not bundled.
std::optional<PersistentPlan> plan(const Shape& shape, const Product& product,
                                   const DeviceLimits& device) {
  if (shape.batch == 0) return std::nullopt;
  if (shape.batch > device.multiprocessors) {
    if (const auto bundled = plan(shape, product, device, kRows)) return bundled;
  }
  return plan(shape, product, device, 1);
}

}  // namespace

std::optional<PersistentPlan> plan_forward(const Shape& shape, const DeviceLimits& device) {
  return plan(shape, {shape.gates, shape.hidden}, device);
}

std::optional<PersistentPlan> plan_backward(const Shape& shape, const DeviceLimits& device) {
  return plan(shape, {1, shape.gates * shape.hidden}, device);
}

StepPlan plan_step(int64_t size, int64_t hidden, int width) {
  const int64_t packs = hidden / width;
  StepPlan plan{};
  plan.block_x = kStepThreads;
  while (plan.block_x / 2 >= packs) plan.block_x /= 2;
  plan.block_y = kStepThreads / plan.block_x;
  plan.grid_x = divide_up(size, plan.block_y);
  plan.grid_y = divide_up(packs, plan.block_x);
  return plan;
}

}  // namespace fused_rnn::cuda
