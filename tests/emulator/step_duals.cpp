#include "emulator/step_duals.h"

#include <ATen/ops/empty.h>

#include "torch/cuda_recurrence.h"

namespace fused_rnn {
namespace {

template <class S>
using Numbers = cuda::Array<S, Dual<cuda::Compute<S>>>;

int row_of(const std::string& cell) {
  for (int row = 0; row < Cells::kSize; ++row) {
    if (cell == Cells::kInfo[row].name) return row;
  }
  TORCH_CHECK_VALUE(false, "cell: got '", cell, "'");
}

// Number i of a list whose second half are tangents.
template <class S>
Numbers<S> dual(const Tensors& tensors, size_t i) {
  return {data<S>(tensors[i]), data<S>(tensors[i + tensors.size() / 2])};
}

Tensors new_duals(const at::Tensor& like, std::initializer_list<int64_t> widths) {
  Tensors made;
  for (int half = 0; half < 2; ++half) {
    for (int64_t width : widths) {
      made.push_back(width ? at::empty({like.size(0), width}, like.options()) : at::Tensor());
    }
  }
  return made;
}

void check_launch(const char* error) { TORCH_CHECK(!error, error); }

}  // namespace

Tensors step_forward_dual(const std::string& cell, const Tensors& in) {
  const int row = row_of(cell);
  const CellInfo& info = Cells::kInfo[row];
  const int64_t size = in[0].size(0), hidden = in[0].size(1) / info.gates;
  const Tensors out = new_duals(in[0], {hidden, info.has_c * hidden, info.tape * hidden});
  visit_dtype(in[0].scalar_type(), [&](auto type) {
    using S = decltype(type);
    using T = cuda::Compute<S>;
    const cuda::StepForward<S, Dual<T>> step{size,
                                             hidden,
                                             size,
                                             dual<const S>(in, 0),
                                             dual<const S>(in, 1),
                                             dual<const S>(in, 2),
                                             {dual<const S>(in, 3), {}},
                                             {dual<const T>(in, 4), {}},
                                             {dual<S>(out, 0), dual<T>(out, 1), dual<T>(out, 2)}};
    check_launch(cuda::launch_step(row, step, nullptr));
  });
  return out;
}

Tensors step_backward_dual(const std::string& cell, const Tensors& in) {
  const int row = row_of(cell);
  const CellInfo& info = Cells::kInfo[row];
  const int64_t size = in[0].size(0), hidden = in[0].size(1), gates = info.gates * hidden;
  Tensors out = new_duals(in[0], {gates, info.same_gates ? 0 : gates, 0, 0});
  for (size_t half = 0; half < 2; ++half) {  // updated in place
    for (size_t i : {1, 2}) {
      const at::Tensor& tensor = in[half * in.size() / 2 + i];
      out[half * 4 + (i == 1 ? 3 : 2)] = tensor.defined() ? tensor.clone() : at::Tensor();
    }
  }
  visit_dtype(in[0].scalar_type(), [&](auto type) {
    using S = decltype(type);
    using T = cuda::Compute<S>;
    const cuda::Saved<S, Dual<T>> saved{size,
                                        {},
                                        dual<const S>(in, 4),
                                        dual<const T>(in, 5),
                                        dual<const T>(in, 3),
                                        {dual<const S>(in, 6), {}},
                                        {dual<const T>(in, 7), {}}};
    const cuda::StepBackward<S, Dual<T>> step{size,
                                              hidden,
                                              saved,
                                              dual<const S>(in, 0),
                                              dual<T>(out, 2),
                                              dual<T>(out, 3),
                                              {dual<S>(out, 0), dual<S>(out, 1)},
                                              {}};
    check_launch(cuda::launch_step(row, step, nullptr));
  });
  return out;
}

}  // namespace fused_rnn
