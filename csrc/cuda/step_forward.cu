#include "cuda/launch.cuh"
#include "cuda/step_forward.cuh"

namespace fused_rnn::cuda {

template <class S, class V>
const char* launch_step(int cell, const StepForward<S, V>& step, Stream stream) {
  constexpr int W = kVector<V>;
  const bool vectors = takes_vectors<W>(
      step.hidden, step.xg, step.r, step.bias_hh, step.before_h.made, step.before_h.initial,
      step.before_c.made, step.before_c.initial, step.made.h, step.made.c, step.made.tape);
  const char* error = nullptr;
  Cells::visit(cell, [&](auto c) {
    using Cell = decltype(c);
    error = vectors ? launch_units(step_forward<Cell, S, V, W>, step, W, stream)
                    : launch_units(step_forward<Cell, S, V, 1>, step, 1, stream);
  });
  return error;
}

template const char* launch_step(int, const StepForward<double, double>&, Stream);
template const char* launch_step(int, const StepForward<float, float>&, Stream);
template const char* launch_step(int, const StepForward<F16, float>&, Stream);
template const char* launch_step(int, const StepForward<Bf16, float>&, Stream);
template const char* launch_step(int, const StepForward<double, Dual<double>>&, Stream);
template const char* launch_step(int, const StepForward<float, Dual<float>>&, Stream);
template const char* launch_step(int, const StepForward<F16, Dual<float>>&, Stream);
template const char* launch_step(int, const StepForward<Bf16, Dual<float>>&, Stream);

}  // namespace fused_rnn::cuda
