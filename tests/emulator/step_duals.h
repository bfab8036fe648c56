// The kernels of one step on dual numbers, which no op calls yet: tensors in, tensors out, each
// list first the values, then in the same order the tangents. Undefined tensors are what a cell does
// not have.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace fused_rnn {

using Tensors = std::vector<at::Tensor>;

// xg, r, bias_hh, h and c before -> h, c, tape
Tensors step_forward_dual(const std::string& cell, const Tensors& in);

// d_h, d_c, direct, tape, h and c after, h and c before -> d_xg, dr, direct, d_c
Tensors step_backward_dual(const std::string& cell, const Tensors& in);

}  // namespace fused_rnn
