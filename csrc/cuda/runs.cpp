#include "cuda/runs.h"

namespace fused_rnn::cuda {

std::optional<Runs> runs_of(const std::vector<Step>& steps) {
  Runs runs{};
  runs.steps = static_cast<int64_t>(steps.size());
  runs.direction = steps.size() > 1 && steps[1].row < steps[0].row ? -1 : 1;
  for (int64_t i = 0; i < runs.steps; ++i) {
    if (runs.count > 0 && runs.run[runs.count - 1].size == steps[i].size) continue;
    if (runs.count == Runs::kMost) return std::nullopt;
    runs.run[runs.count++] = {i, steps[i].row, steps[i].size};
  }
  return runs;
}

}  // namespace fused_rnn::cuda
