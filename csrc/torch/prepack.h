// Weights that were packed for the CPU's forward kernel before they are used. The panels are kept with
// the tensor they were made of, and end with it.
#pragma once
#include <ATen/core/Tensor.h>

namespace fused_rnn {

// Packs weight_ih or weight_hh, [gates * hidden, features]. Gives false, and does nothing, where no kernel
// would read the panels, or where a change of the weight could not be seen.
bool prepack(const at::Tensor& weight, int64_t hidden);

// The panels for a cell with so many gates. Undefined where there are none, or where the weight has
// changed since.
at::Tensor prepacked(const at::Tensor& weight, int gates);

}  // namespace fused_rnn
