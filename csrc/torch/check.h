// The one place where arguments are validated, for every backend and for shapes that are symbols.
#pragma once
#include <c10/core/SymInt.h>
#include <c10/util/DimVector.h>

#include <vector>

#include "cells/table.h"
#include "steps.h"
#include "torch/ops.h"

namespace fused_rnn {

struct Sizes {
  int row;  // of the table of cells
  CellInfo cell;
  bool packed;
  c10::SymInt rows, batch, hidden, out;
  c10::SymDimVector leading;  // [steps, batch], one step: [batch], packed: [rows]

  // [leading..., width]
  c10::SymDimVector with(const c10::SymInt& width) const;
};

inline bool is_dense(const Tensor& tensor, int64_t rank) {
  return tensor.layout() == c10::kStrided && tensor.dim() == rank;
}

// The row of the table of cells; throws where there is no cell of that name.
int find_cell(std::string_view name);

// All throw what names the argument, what was expected and what came.
Sizes check(const ForwardInputs& inputs);
Sizes check(const LayerInputs& inputs);
Sizes check(const BackwardInputs& inputs);
Sizes check(const DoubleBackwardInputs& inputs);

// The steps in the order of computation. What can be checked only where the data are is checked
// here: batch_sizes are positive, not increasing, batch rows first, as many in all as there are.
std::vector<Step> checked_steps(const Sizes& sizes, const MaybeTensor& batch_sizes, bool reverse);

// The dtype that is computed in, and that cells and tape have.
at::ScalarType compute_dtype(at::ScalarType dtype);

}  // namespace fused_rnn
