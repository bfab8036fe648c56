// A stack of layers in one call, as fused_rnn.functional.stack is for dense input and without dropout:
// the Python of that and of torch.nn's checks takes longer than a short sequence.
#pragma once
#include "torch/ops.h"

namespace fused_rnn {

struct StackInputs {
  const Tensor& input;     // [steps, batch, features], or with batch_first [batch, steps, features]
  const MaybeTensor& h_0;  // [layers * directions, batch, out]; neither given: zeros
  const MaybeTensor& c_0;
  const std::vector<Tensor>& weights;  // torch.nn's _flat_weights
  bool has_bias, has_projection, bidirectional, batch_first;
  std::string_view cell;
  int64_t input_size, hidden_size, num_layers;
};

// Nothing where torch.nn's checks of input, states and flat weights would fail, which have the words. The
// op's own checks throw.
std::optional<Layer::Outputs> stack_layers(const StackInputs& inputs);

}  // namespace fused_rnn
