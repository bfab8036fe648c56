// What no kernel here takes, said in words where the dispatcher would not: layouts, of which the
// check names the argument, and CUDA tensors in a build without the CUDA half.
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
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, refuse<RecurrenceDoubleBackward>>::call);
}

#if !defined(FUSED_RNN_CUDA)
template <class Op>
typename Op::Outputs no_cuda(const typename Op::Inputs&) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, Op::kName,
                              ": got CUDA tensors, but this build of fused_rnn has no CUDA "
                              "kernels; `python -m fused_rnn` says why and how to build them");
}
#endif

}  // namespace

#if !defined(FUSED_RNN_CUDA)
TORCH_LIBRARY_IMPL(fused_rnn, CUDA, m) {
  m.impl("linear", Kernel<Linear, no_cuda<Linear>>::call);
  m.impl("linear_backward", Kernel<LinearBackward, no_cuda<LinearBackward>>::call);
  m.impl("layer", Kernel<Layer, no_cuda<Layer>>::call);
  m.impl("layer_train", Kernel<LayerTrain, no_cuda<LayerTrain>>::call);
  m.impl("recurrence", Kernel<Recurrence, no_cuda<Recurrence>>::call);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, no_cuda<RecurrenceTrain>>::call);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, no_cuda<RecurrenceBackward>>::call);
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, no_cuda<RecurrenceDoubleBackward>>::call);
}
#endif

TORCH_LIBRARY_IMPL(fused_rnn, SparseCPU, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, SparseCsrCPU, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, MkldnnCPU, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, QuantizedCPU, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, SparseCUDA, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, SparseCsrCUDA, m) { refuse_all(m); }
TORCH_LIBRARY_IMPL(fused_rnn, QuantizedCUDA, m) { refuse_all(m); }

}  // namespace fused_rnn
