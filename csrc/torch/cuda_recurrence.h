// The recurrence on a CUDA device, for tensors that have been checked: contiguous tensors of one
// device and one dtype, given as PyTorch's and handed to the kernels of csrc/cuda as pointers.
// Nothing here waits for the device, and all memory is from PyTorch's allocator.
#pragma once
#include <type_traits>

#include "torch/cuda.h"
#include "torch/outputs.h"

namespace fused_rnn {

// A sequence and the device it is on.
struct Sequence {
  const Sizes& sizes;
  int64_t rows, batch, hidden, out, gates;  // gates * hidden
  std::vector<Step> steps;
  bool reverse;
  c10::Device device;
  cuda::Stream stream;  // the current one

  template <class Inputs>
  Sequence(const Sizes& s, const Tensor& like, const Inputs& in)
      : sizes(s),
        rows(s.rows.expect_int()),
        batch(s.batch.expect_int()),
        hidden(s.hidden.expect_int()),
        out(s.out.expect_int()),
        gates(s.cell.gates * hidden),
        steps(checked_steps(s, in.batch_sizes, in.reverse)),
        reverse(in.reverse),
        device(like.device()),
        stream(current_stream(device)) {}

  // Row of the step before step i; of no meaning where there is none.
  int64_t row_before(size_t i) const { return i ? steps[i - 1].row : 0; }
};

// Calls function(S{}) for the type S that the kernels have for a dtype.
template <class F>
auto visit_dtype(at::ScalarType dtype, const F& function) {
  if (dtype == at::kDouble) return function(double{});
  if (dtype == at::kHalf) return function(cuda::F16{});
  if (dtype == at::kBFloat16) return function(cuda::Bf16{});
  return function(float{});
}

// The data of a tensor from a row on; null for an undefined tensor.
template <class S>
S* data(const Tensor& tensor, int64_t row = 0) {
  if (!tensor.defined()) return nullptr;
  const int64_t offset = row ? row * tensor.size(-1) : 0;
  if constexpr (std::is_const_v<S>) {
    return static_cast<S*>(tensor.const_data_ptr()) + offset;
  } else {
    return static_cast<S*>(tensor.mutable_data_ptr()) + offset;
  }
}
template <class S>
cuda::Array<S, cuda::Compute<S>> array(const Tensor& tensor, int64_t row = 0) {
  return {data<S>(tensor, row)};
}

inline Tensor contiguous(const MaybeTensor& tensor) {
  return defined(tensor) ? tensor->contiguous() : Tensor();
}

// What a persistent kernel is given beside tensors.
struct OneKernel {
  cuda::Runs runs;
  cuda::PersistentPlan plan;
};

// None: step by step. `plan` is plan_forward or plan_backward.
template <class S, class Plan>
std::optional<OneKernel> one_kernel(const Sequence& s, bool projected, const Plan& plan) {
  if (projected || s.steps.empty()) return std::nullopt;
  const auto found =
      plan({s.sizes.cell.gates, s.batch, s.hidden, sizeof(S), sizeof(cuda::Compute<S>)},
           device_limits(s.device));
  const auto runs = found ? cuda::runs_of(s.steps) : std::nullopt;
  return runs ? std::optional(OneKernel{*runs, *found}) : std::nullopt;
}

// The kernels' names in errors are those of their files.
inline void check_launch(const char* error, const char* kernel, const CellInfo& cell) {
  TORCH_CHECK(!error, "fused_rnn: starting the CUDA kernel ", kernel, " of the cell '", cell.name,
              "' found an error, its own or of earlier work on the device: ", error);
}

}  // namespace fused_rnn
