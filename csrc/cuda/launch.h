// The launchers: they choose the instance of a kernel and start it on a stream, without waiting.
// `cell` is a row of the table in cells/table.h. They return what the CUDA runtime has against the
// launch, or null.
#pragma once
#include "cuda/params.h"
#include "cuda/plan.h"

namespace fused_rnn::cuda {

using Stream = void*;  // a cudaStream_t

template <class S, class V>
const char* launch_step(int cell, const StepForward<S, V>& step, Stream stream);
template <class S, class V>
const char* launch_step(int cell, const StepBackward<S, V>& step, Stream stream);

// `shares` of the problem are set from the plan.
template <class S>
const char* launch_persistent(int cell, PersistentForward<S> problem, const PersistentPlan& plan,
                              Stream stream);
template <class S>
const char* launch_persistent(int cell, PersistentBackward<S> problem, const PersistentPlan& plan,
                              Stream stream);

}  // namespace fused_rnn::cuda
