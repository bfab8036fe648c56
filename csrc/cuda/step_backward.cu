#include "cuda/launch.cuh"
#include "cuda/step_backward.cuh"

namespace fused_rnn::cuda {

template <class S, class V>
const char* launch_step(int cell, const StepBackward<S, V>& step, Stream stream) {
  constexpr int W = kVector<V>;
  const Saved<S, V>& saved = step.saved;
  const bool vectors = takes_vectors<W>(
      step.hidden, saved.grad_output, saved.h, saved.c, saved.tape, saved.before_h.made,
      saved.before_h.initial, saved.before_c.made, saved.before_c.initial, step.carry, step.direct,
      step.d_c, step.gates.d_xg, step.gates.dr, step.hidden_state);
  const char* error = nullptr;
  Cells::visit(cell, [&](auto c) {
    using Cell = decltype(c);
    error = vectors ? launch_units(step_backward<Cell, S, V, W>, step, W, stream)
                    : launch_units(step_backward<Cell, S, V, 1>, step, 1, stream);
  });
  return error;
}

template const char* launch_step(int, const StepBackward<double, double>&, Stream);
template const char* launch_step(int, const StepBackward<float, float>&, Stream);
template const char* launch_step(int, const StepBackward<F16, float>&, Stream);
template const char* launch_step(int, const StepBackward<Bf16, float>&, Stream);
template const char* launch_step(int, const StepBackward<double, Dual<double>>&, Stream);
template const char* launch_step(int, const StepBackward<float, Dual<float>>&, Stream);
template const char* launch_step(int, const StepBackward<F16, Dual<float>>&, Stream);
template const char* launch_step(int, const StepBackward<Bf16, Dual<float>>&, Stream);

}  // namespace fused_rnn::cuda
