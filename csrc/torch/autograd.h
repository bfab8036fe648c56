// What the nodes share, which record an op, run it below autograd and save what its gradient needs. The
// order inside a kernel matters: edges, op, history, saved outputs.
#pragma once
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/forward_grad.h>

#include <algorithm>

#include "torch/node.h"
#include "torch/ops.h"

namespace fused_rnn {

using torch::autograd::collect_next_edges;
using torch::autograd::compute_requires_grad;
using torch::autograd::isFwGradDefined;
using torch::autograd::set_history;

inline SavedVariable save(const Tensor& tensor) {
  return tensor.defined() ? SavedVariable(tensor, /*is_output=*/false) : SavedVariable();
}
inline SavedVariable save(const MaybeTensor& tensor) {
  return tensor ? save(*tensor) : SavedVariable();
}

// A new node N with the edges of the inputs, or null where nothing requires a gradient.
template <class N, class Inputs>
auto node_for(const Inputs& in) {
  return std::apply(
      [](const auto&... tensors) {
        decltype(make_node<N>()) node;
        if (compute_requires_grad(tensors...)) {
          node = make_node<N>();
          node->set_next_edges(collect_next_edges(tensors...));
        }
        return node;
      },
      in.differentiable());
}

// No tensor has a tangent outside of a level of forward mode: one lock, not one for each tensor.
template <class Inputs>
bool has_tangent(const Inputs& in) {
  if (!torch::autograd::ForwardADLevel::try_get_by_idx(0)) return false;
  return std::apply([](const auto&... tensors) { return (isFwGradDefined(tensors) || ...); },
                    in.differentiable());
}

// Runs the op on what lies below autograd.
template <class Op>
typename Op::Outputs run_below(c10::DispatchKeySet keys, const typename Op::Inputs& in) {
  const at::AutoDispatchBelowADInplaceOrView below;
  return redispatch<Op>(keys & c10::after_autograd_keyset, in);
}

// What the nodes of the recurrence and of the layer save, in this order.
enum Saved { kH0, kC0, kWeightHh, kWeightHr, kBatchSizes, kInput, kWeightIh, kBiasIh, kBiasHh };
constexpr size_t kSavedInputs = kBiasHh + 1;

// The first of the node's inputs. For the recurrence, xg is the input.
template <class Node, class Inputs>
void save_inputs(Node& node, const Inputs& in, const auto& input, const auto& weight_ih,
                 const MaybeTensor& bias_ih) {
  node.attributes = {std::string(in.cell), in.reverse};
  SavedVariable saved[] = {save(in.h_0),       save(in.c_0),         save(in.weight_hh),
                           save(in.weight_hr), save(in.batch_sizes), save(input),
                           save(weight_ih),    save(bias_ih),        save(in.bias_hh)};
  std::move(std::begin(saved), std::end(saved), node.inputs.begin());
}

template <class Outputs, class NodePointer>
void set_history_of_all(const Outputs& outputs, const NodePointer& node) {
  std::apply([&](const auto&... tensors) { (set_history(tensors, node), ...); }, outputs);
}

inline bool any_defined(const variable_list& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.defined(); });
}

}  // namespace fused_rnn
