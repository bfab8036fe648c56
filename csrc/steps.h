// The steps of a sequence as every backend walks through them: the list takes direction and
// raggedness away from the kernels.
#pragma once
#include <cstdint>
#include <vector>

namespace fused_rnn {

// A step of the recurrence, in the order of computation: rows [row, row + size) of every array with
// a row per (step, sequence). Of these the first `kept` go on from the step before; the others
// start here, from the initial state of the same index.
struct Step {
  int64_t row, size, kept;
};

// The steps of `steps` x `batch` rows, or of sequences packed as in
// torch.nn.utils.rnn.PackedSequence.
std::vector<Step> dense_steps(int64_t steps, int64_t batch, bool reverse);
std::vector<Step> packed_steps(const int64_t* batch_sizes, int64_t steps, bool reverse);

}  // namespace fused_rnn
