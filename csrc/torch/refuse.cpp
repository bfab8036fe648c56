// Layouts that no kernel here takes: the check names the argument, where the dispatcher would not.
#include <torch/library.h>

#include "torch/check.h"

namespace fused_rnn {
namespace {

template <class Op>
typename Op::Outputs refuse(const typename Op::Inputs& in) {
  check(in);
  TORCH_INTERNAL_ASSERT(false, Op::kName, ": a layout that the check lets pass has no kernel");
}

void refuse_all(torch::Library& m) {
  m.impl("layer", Kernel<Layer, refuse<Layer>>::call);
  m.impl("layer_train", Kernel<LayerTrain, refuse<LayerTrain>>::call);
  m.impl("recurrence", Kernel<Recurrence, refuse<Recurrence>>::call);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, refuse<RecurrenceTrain>>::call);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, refuse<RecurrenceBackward>>::call);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, SparseCPU, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, SparseCsrCPU, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, MkldnnCPU, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, QuantizedCPU, m) { refuse_all(m); }

}  // namespace fused_rnn
