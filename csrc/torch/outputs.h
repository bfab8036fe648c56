// New tensors for what an op returns, of any device and for sizes that may be symbols: the one place
// that knows their shapes and dtypes, but for the CPU's, which are first of the dtype computed in.
#pragma once
#include "torch/check.h"

namespace fused_rnn {

// like: a tensor of the dtype and device of output, h_n and c_n. Without `train`, no cells and no
// tape.
RecurrenceTrain::Outputs new_outputs(const Sizes& sizes, const Tensor& like, const Tensor& h_0,
                                     const MaybeTensor& c_0, bool train);

RecurrenceBackward::Outputs new_gradients(const Sizes& sizes, const BackwardInputs& in);

RecurrenceDoubleBackward::Outputs new_gradients(const Sizes& sizes, const DoubleBackwardInputs& in);

// What recurrence and layer return of it.
inline Recurrence::Outputs without_tape(const RecurrenceTrain::Outputs& outputs) {
  return {std::get<0>(outputs), std::get<1>(outputs), maybe(std::get<2>(outputs))};
}

}  // namespace fused_rnn
