#include "cuda/launch.cuh"
#include "cuda/persistent_backward.cuh"

namespace fused_rnn::cuda {

template <class S>
const char* launch_persistent(int cell, PersistentBackward<S> problem, const PersistentPlan& plan,
                              Stream stream) {
  const char* error = nullptr;
  Cells::visit(cell, [&](auto c) {
    using Cell = decltype(c);
    error = plan.rows == 1
                ? launch_blocks(persistent_backward<Cell, S, 1>, problem, plan, stream)
                : launch_blocks(persistent_backward<Cell, S, kRows>, problem, plan, stream);
  });
  return error;
}

template const char* launch_persistent(int, PersistentBackward<double>, const PersistentPlan&,
                                       Stream);
template const char* launch_persistent(int, PersistentBackward<float>, const PersistentPlan&,
                                       Stream);
template const char* launch_persistent(int, PersistentBackward<F16>, const PersistentPlan&, Stream);
template const char* launch_persistent(int, PersistentBackward<Bf16>, const PersistentPlan&,
                                       Stream);

}  // namespace fused_rnn::cuda
