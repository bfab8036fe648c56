// The one place where arguments are validated, for every backend and for shapes that are symbols.
#pragma once
#include <vector>

#include "cells/table.h"
#include "torch/ops.h"

namespace fused_rnn {

struct Sizes {
  int row;  // of the table of cells
  CellInfo cell;
  bool packed;
  c10::SymInt rows, batch, hidden, out;
  std::vector<c10::SymInt> leading;  // [steps, batch], packed: [rows]

  // [leading..., width]
  std::vector<c10::SymInt> with(const c10::SymInt& width) const;
};

// All throw what names the argument, what was expected and what came.
Sizes check(const ForwardInputs& inputs);
Sizes check(const LayerInputs& inputs);
Sizes check(const BackwardInputs& inputs);

// What can be checked only where the data are: positive, not increasing, batch rows first, `rows`
// in all.
void check_batch_sizes(const Tensor& batch_sizes, int64_t batch, int64_t rows);

// The dtype that is computed in, and that cells and tape have.
at::ScalarType compute_dtype(at::ScalarType dtype);

}  // namespace fused_rnn
