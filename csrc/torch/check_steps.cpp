// The steps, and the check of what only they depend on: the values of batch_sizes.
#include <c10/util/Exception.h>

#include <string>

#include "torch/check.h"

namespace fused_rnn {
namespace {

// The sizes; a tensor that torch.func or a tracer has wrapped has no memory to read them from.
std::vector<int64_t> numbers(const Tensor& batch_sizes) {
  std::vector<int64_t> result(batch_sizes.size(0));
  const Tensor counts = batch_sizes.has_storage() ? batch_sizes.contiguous() : batch_sizes;
  const int64_t* data = counts.has_storage() ? counts.const_data_ptr<int64_t>() : nullptr;
  for (size_t t = 0; t < result.size(); ++t) {
    result[t] = data ? data[t] : counts.select(0, static_cast<int64_t>(t)).item<int64_t>();
  }
  return result;
}

void check_batch_sizes(const std::vector<int64_t>& size, int64_t batch, int64_t rows) {
  const auto steps = static_cast<int64_t>(size.size());
  TORCH_CHECK(steps == 0 || size[0] == batch,
              "batch_sizes: expected batch_sizes[0] to be the batch of h_0, ", batch, ", but got ",
              steps ? size[0] : 0);
  int64_t sum = 0;
  for (int64_t t = 0; t < steps; ++t) {
    TORCH_CHECK(size[t] > 0 && (t == 0 || size[t] <= size[t - 1]),
                "batch_sizes: expected positive sizes that do not increase, but batch_sizes[", t,
                "] is ", size[t], t ? " after " + std::to_string(size[t - 1]) : std::string());
    TORCH_CHECK(size[t] <= rows - sum, "batch_sizes: expected a sum of ", rows,
                ", the rows of data, but it is larger: ", sum, " before step ", t, ", which has ",
                size[t]);
    sum += size[t];
  }
  TORCH_CHECK(sum == rows, "batch_sizes: expected a sum of ", rows, ", the rows of data, but got ",
              sum);
}

}  // namespace

std::vector<Step> checked_steps(const Sizes& sizes, const MaybeTensor& batch_sizes, bool reverse) {
  const int64_t batch = sizes.batch.guard_int(__FILE__, __LINE__);
  if (!sizes.packed) {
    const c10::SymInt steps = sizes.leading.size() == 1 ? c10::SymInt(1) : sizes.leading[0];
    return dense_steps(batch ? steps.guard_int(__FILE__, __LINE__) : 0, batch, reverse);
  }
  const std::vector<int64_t> counts = numbers(*batch_sizes);
  check_batch_sizes(counts, batch, sizes.rows.guard_int(__FILE__, __LINE__));
  return packed_steps(counts.data(), static_cast<int64_t>(counts.size()), reverse);
}

}  // namespace fused_rnn
