// Meta kernels: the shapes of what comes out, which may be symbols.
#include <torch/library.h>

#include "torch/outputs.h"

namespace fused_rnn {
namespace {

RecurrenceTrain::Outputs recurrence_train(const ForwardInputs& in) {
  return new_outputs(check(in), in.xg, in.h_0, in.c_0, /*train=*/true);
}

Recurrence::Outputs recurrence(const ForwardInputs& in) {
  return without_tape(new_outputs(check(in), in.xg, in.h_0, in.c_0, /*train=*/false));
}

LayerTrain::Outputs layer_train(const LayerInputs& in) {
  return new_outputs(check(in), in.input, in.h_0, in.c_0, /*train=*/true);
}

Layer::Outputs layer(const LayerInputs& in) {
  return without_tape(new_outputs(check(in), in.input, in.h_0, in.c_0, /*train=*/false));
}

RecurrenceBackward::Outputs recurrence_backward(const BackwardInputs& in) {
  return new_gradients(check(in), in);
}

RecurrenceDoubleBackward::Outputs recurrence_double_backward(const DoubleBackwardInputs& in) {
  return new_gradients(check(in), in);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Meta, m) {
  m.impl("layer", Kernel<Layer, layer>::call);
  m.impl("layer_train", Kernel<LayerTrain, layer_train>::call);
  m.impl("recurrence", Kernel<Recurrence, recurrence>::call);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, recurrence_train>::call);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call);
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, recurrence_double_backward>::call);
}

}  // namespace fused_rnn
