// Calls from Python that do not go through torch.ops, which converts every argument to a variant type
// and back: 3 us a call, as much as a small step takes.
#pragma once
#include <Python.h>

namespace fused_rnn {

// Ends with an entry of nulls. Each function is of METH_FASTCALL.
extern PyMethodDef kPythonCalls[];

}  // namespace fused_rnn
