#include "cuda/launch.cuh"
#include "cuda/persistent_forward.cuh"

namespace fused_rnn::cuda {

template <class S>
const char* launch_persistent(int cell, PersistentForward<S> problem, const PersistentPlan& plan,
                              Stream stream) {
  const char* error = nullptr;
  Cells::visit(cell, [&](auto c) {
    using Cell = decltype(c);
    error = plan.rows == 1
                ? launch_blocks(persistent_forward<Cell, S, 1>, problem, plan, stream)
                : launch_blocks(persistent_forward<Cell, S, kRows>, problem, plan, stream);
  });
  return error;
}

template const char* launch_persistent(int, PersistentForward<double>, const PersistentPlan&,
                                       Stream);
template const char* launch_persistent(int, PersistentForward<float>, const PersistentPlan&,
                                       Stream);
template const char* launch_persistent(int, PersistentForward<F16>, const PersistentPlan&, Stream);
template const char* launch_persistent(int, PersistentForward<Bf16>, const PersistentPlan&, Stream);

}  // namespace fused_rnn::cuda
