// A stack of layers in one call: what fused_rnn.functional.stack is for dense input and without
// dropout. A short sequence takes less time than the Python of that.
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
};

// Nothing where ranks, sizes or dtypes are wrong, of which others have the words.
std::optional<Layer::Outputs> stack_layers(const StackInputs& inputs);

}  // namespace fused_rnn
