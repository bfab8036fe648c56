// Autograd kernels: they record a node, run the op below autograd, and save what backward needs.
// recurrence_train is the differentiable op; recurrence becomes it wherever a gradient is wanted, and
// otherwise keeps no tape. The order inside a kernel matters: edges, op, history, saved outputs.
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

#include "torch/node.h"
#include "torch/ops.h"

namespace fused_rnn {
namespace {

using torch::autograd::collect_next_edges;
using torch::autograd::compute_requires_grad;
using torch::autograd::isFwGradDefined;
using torch::autograd::set_history;

MaybeTensor maybe(const Tensor& tensor) { return tensor.defined() ? MaybeTensor(tensor) : std::nullopt; }
SavedVariable saved(const MaybeTensor& tensor) { return SavedVariable(tensor ? *tensor : Tensor(), /*is_output=*/false); }

// A kernel without this would silently drop tangents.
template <class... Tensors>
void refuse_tangents(const Tensors&... tensors) {
  TORCH_CHECK_NOT_IMPLEMENTED(!(isFwGradDefined(tensors) || ...),
                              "fused_rnn: forward-mode differentiation of the recurrence is not implemented; "
                              "fused_rnn.reference.recurrence has it");
}

struct RecurrenceNode : FormulaNode<RecurrenceNode, 5, 3> {
  static constexpr const char* kName = "FusedRnnRecurrenceBackward";
  enum Saved { kH0, kC0, kWeightHh, kWeightHr, kBatchSizes, kOutput, kCells, kTape };
  enum Input { kXg, kInputH0, kInputC0, kInputWeightHh, kInputBiasHh, kInputWeightHr, kNumInputs };

  static variable_list formula(const variable_list& grads, const variable_list& saved, const Attributes& attributes,
                               const std::vector<bool>& wanted) {
    variable_list result(kNumInputs);
    if (!grads[0].defined() && !grads[1].defined() && !grads[2].defined()) return result;
    const std::array<bool, 3> mask = {wanted[kInputWeightHh], wanted[kInputBiasHh], wanted[kInputWeightHr]};
    std::tie(result[kXg], result[kInputH0], result[kInputC0], result[kInputWeightHh], result[kInputBiasHh],
             result[kInputWeightHr]) =
        recurrence_backward_op().call(maybe(grads[0]), maybe(grads[1]), maybe(grads[2]), saved[kOutput],
                                      maybe(saved[kCells]), maybe(saved[kTape]), saved[kH0], maybe(saved[kC0]),
                                      saved[kWeightHh], maybe(saved[kWeightHr]), maybe(saved[kBatchSizes]),
                                      attributes.cell, attributes.reverse, mask);
    return result;
  }
};

// Stands where the derivative of backward would: it is an error only for those who go there.
struct SecondOrderNode : torch::autograd::Node {
  std::string name() const override { return "FusedRnnRecurrenceBackwardBackward"; }
  variable_list apply(variable_list&&) override {
    TORCH_CHECK_NOT_IMPLEMENTED(false,
                                "fused_rnn: the second derivative of the recurrence is not implemented; "
                                "fused_rnn.reference.recurrence has every order");
  }
};

RecurrenceTrain recurrence_train(c10::DispatchKeySet keys, const Tensor& xg, const Tensor& h_0, const MaybeTensor& c_0,
                                 const Tensor& weight_hh, const MaybeTensor& bias_hh, const MaybeTensor& weight_hr,
                                 const MaybeTensor& batch_sizes, std::string_view cell, bool reverse) {
  refuse_tangents(xg, h_0, c_0, weight_hh, bias_hh, weight_hr);
  decltype(make_node<RecurrenceNode>()) node;
  if (compute_requires_grad(xg, h_0, c_0, weight_hh, bias_hh, weight_hr)) {
    node = make_node<RecurrenceNode>();
    node->set_next_edges(collect_next_edges(xg, h_0, c_0, weight_hh, bias_hh, weight_hr));
    node->inputs = {saved(h_0), saved(c_0), saved(weight_hh), saved(weight_hr), saved(batch_sizes)};
    node->attributes = {std::string(cell), reverse};
  }
  RecurrenceTrain result;
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    result = recurrence_train_op().redispatch(keys & c10::after_autograd_keyset, xg, h_0, c_0, weight_hh, bias_hh,
                                              weight_hr, batch_sizes, cell, reverse);
  }
  if (node) {
    auto& [output, h_n, c_n, cells, tape] = result;
    for (const Tensor& differentiable : {output, h_n, c_n}) set_history(differentiable, node);
    node->outputs = {SavedVariable(output, /*is_output=*/true), SavedVariable(cells, /*is_output=*/false),
                     SavedVariable(tape, /*is_output=*/false)};
  }
  return result;
}

Recurrence recurrence(c10::DispatchKeySet keys, const Tensor& xg, const Tensor& h_0, const MaybeTensor& c_0,
                      const Tensor& weight_hh, const MaybeTensor& bias_hh, const MaybeTensor& weight_hr,
                      const MaybeTensor& batch_sizes, std::string_view cell, bool reverse) {
  refuse_tangents(xg, h_0, c_0, weight_hh, bias_hh, weight_hr);
  if (compute_requires_grad(xg, h_0, c_0, weight_hh, bias_hh, weight_hr)) {
    auto [output, h_n, c_n, cells, tape] =
        recurrence_train_op().call(xg, h_0, c_0, weight_hh, bias_hh, weight_hr, batch_sizes, cell, reverse);
    return {output, h_n, c_n};
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  return recurrence_op().redispatch(keys & c10::after_autograd_keyset, xg, h_0, c_0, weight_hh, bias_hh, weight_hr,
                                    batch_sizes, cell, reverse);
}

RecurrenceBackward recurrence_backward(c10::DispatchKeySet keys, const MaybeTensor& grad_output,
                                       const MaybeTensor& grad_h_n, const MaybeTensor& grad_c_n, const Tensor& output,
                                       const MaybeTensor& cells, const MaybeTensor& tape, const Tensor& h_0,
                                       const MaybeTensor& c_0, const Tensor& weight_hh, const MaybeTensor& weight_hr,
                                       const MaybeTensor& batch_sizes, std::string_view cell, bool reverse,
                                       std::array<bool, 3> output_mask) {
  refuse_tangents(grad_output, grad_h_n, grad_c_n, output, cells, tape, h_0, c_0, weight_hh, weight_hr);
  decltype(make_node<SecondOrderNode>()) node;
  if (compute_requires_grad(grad_output, grad_h_n, grad_c_n, output, cells, tape, h_0, c_0, weight_hh, weight_hr)) {
    node = make_node<SecondOrderNode>();
    node->set_next_edges(
        collect_next_edges(grad_output, grad_h_n, grad_c_n, output, cells, tape, h_0, c_0, weight_hh, weight_hr));
  }
  RecurrenceBackward result;
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    result = recurrence_backward_op().redispatch(keys & c10::after_autograd_keyset, grad_output, grad_h_n, grad_c_n,
                                                 output, cells, tape, h_0, c_0, weight_hh, weight_hr, batch_sizes, cell,
                                                 reverse, output_mask);
  }
  if (node) std::apply([&](const auto&... tensors) { (set_history(tensors, node), ...); }, result);
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Autograd, m) {
  m.impl("recurrence", recurrence);
  m.impl("recurrence_train", recurrence_train);
  m.impl("recurrence_backward", recurrence_backward);
}

}  // namespace fused_rnn
