#include "steps.h"

#include <algorithm>

namespace fused_rnn {

std::vector<Step> dense_steps(int64_t steps, int64_t batch, bool reverse) {
  std::vector<Step> list(steps);
  for (int64_t i = 0; i < steps; ++i) {
    list[i] = {(reverse ? steps - 1 - i : i) * batch, batch, i ? batch : 0};
  }
  return list;
}

std::vector<Step> packed_steps(const int64_t* batch_sizes, int64_t steps, bool reverse) {
  std::vector<Step> list(steps);
  int64_t row = 0;
  for (int64_t t = 0; t < steps; row += batch_sizes[t++]) list[t] = {row, batch_sizes[t], 0};
  if (reverse) std::reverse(list.begin(), list.end());
  for (int64_t i = 1; i < steps; ++i) list[i].kept = std::min(list[i].size, list[i - 1].size);
  return list;
}

}  // namespace fused_rnn
