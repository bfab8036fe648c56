// Autograd kernels: they record a node, run the op below autograd, and save what backward needs.
// recurrence_train is the differentiable op; recurrence becomes it wherever a gradient is wanted,
// and otherwise keeps no tape. The order inside a kernel matters: edges, op, history, saved
// outputs.
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

#include "torch/linear.h"
#include "torch/node.h"
#include "torch/ops.h"

namespace fused_rnn {
namespace {

using torch::autograd::collect_next_edges;
using torch::autograd::compute_requires_grad;
using torch::autograd::isFwGradDefined;
using torch::autograd::set_history;

MaybeTensor maybe(const Tensor& tensor) {
  return tensor.defined() ? MaybeTensor(tensor) : std::nullopt;
}

SavedVariable save(const MaybeTensor& tensor) {
  return SavedVariable(tensor.value_or(Tensor()), /*is_output=*/false);
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

template <class Inputs>
bool requires_grad(const Inputs& in) {
  return std::apply([](const auto&... tensors) { return compute_requires_grad(tensors...); },
                    in.differentiable());
}

template <class Inputs>
bool has_tangent(const Inputs& in) {
  return std::apply([](const auto&... tensors) { return (isFwGradDefined(tensors) || ...); },
                    in.differentiable());
}

// A kernel without this would silently drop tangents.
template <class Inputs>
void refuse_tangents(const Inputs& in) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      !has_tangent(in),
      "fused_rnn: forward-mode differentiation of the recurrence is not implemented; "
      "fused_rnn.reference.recurrence has it");
}

// Runs the op on what lies below autograd.
template <class Op>
typename Op::Outputs run_below(c10::DispatchKeySet keys, const typename Op::Inputs& in) {
  const at::AutoDispatchBelowADInplaceOrView below;
  return redispatch<Op>(keys & c10::after_autograd_keyset, in);
}

struct RecurrenceNode : FormulaNode<RecurrenceNode, 5, 3> {
  static constexpr const char* kName = "FusedRnnRecurrenceBackward";
  enum Saved { kH0, kC0, kWeightHh, kWeightHr, kBatchSizes, kOutput, kCells, kTape };

  static variable_list formula(const variable_list& grads, const variable_list& saved,
                               const Attributes& attributes, const std::vector<bool>& wanted) {
    variable_list result(wanted.size());  // of xg, h_0, c_0, weight_hh, bias_hh, weight_hr
    if (!grads[0].defined() && !grads[1].defined() && !grads[2].defined()) return result;
    std::tie(result[0], result[1], result[2], result[3], result[4], result[5]) =
        call<RecurrenceBackward>({maybe(grads[0]),
                                  maybe(grads[1]),
                                  maybe(grads[2]),
                                  saved[kOutput],
                                  maybe(saved[kCells]),
                                  maybe(saved[kTape]),
                                  saved[kH0],
                                  maybe(saved[kC0]),
                                  saved[kWeightHh],
                                  maybe(saved[kWeightHr]),
                                  maybe(saved[kBatchSizes]),
                                  attributes.cell,
                                  attributes.reverse,
                                  {wanted[3], wanted[4], wanted[5]}});
    return result;
  }
};

// Stands where the derivative of backward would: it is an error only for those who go there.
struct SecondOrderNode : torch::autograd::Node {
  std::string name() const override { return "FusedRnnRecurrenceBackwardBackward"; }
  variable_list apply(variable_list&&) override {
    TORCH_CHECK_NOT_IMPLEMENTED(
        false,
        "fused_rnn: the second derivative of the recurrence is not implemented; "
        "fused_rnn.reference.recurrence has every order");
  }
};

RecurrenceTrain::Outputs recurrence_train(c10::DispatchKeySet keys, const ForwardInputs& in) {
  refuse_tangents(in);
  const auto node = node_for<RecurrenceNode>(in);
  if (node) {
    node->inputs = {save(in.h_0), save(in.c_0), save(in.weight_hh), save(in.weight_hr),
                    save(in.batch_sizes)};
    node->attributes = {std::string(in.cell), in.reverse};
  }
  auto result = run_below<RecurrenceTrain>(keys, in);
  if (node) {
    const auto& [output, h_n, c_n, cells, tape] = result;
    for (const Tensor& differentiable : {output, h_n, c_n}) set_history(differentiable, node);
    node->outputs = {SavedVariable(output, /*is_output=*/true), save(cells), save(tape)};
  }
  return result;
}

Recurrence::Outputs recurrence(c10::DispatchKeySet keys, const ForwardInputs& in) {
  refuse_tangents(in);
  if (!requires_grad(in)) return run_below<Recurrence>(keys, in);
  auto [output, h_n, c_n, cells, tape] = call<RecurrenceTrain>(in);
  return {output, h_n, c_n};
}

RecurrenceBackward::Outputs recurrence_backward(c10::DispatchKeySet keys,
                                                const BackwardInputs& in) {
  refuse_tangents(in);
  const auto node = node_for<SecondOrderNode>(in);
  auto result = run_below<RecurrenceBackward>(keys, in);
  if (node) {
    std::apply([&](const auto&... tensors) { (set_history(tensors, node), ...); }, result);
  }
  return result;
}

// The linear layer's gradient is an op of ours only where no derivative of it is wanted.
struct LinearNode : FormulaNode<LinearNode, 2, 0> {
  static constexpr const char* kName = "FusedRnnLinearBackward";

  static variable_list formula(const variable_list& grads, const variable_list& saved,
                               const Attributes&, const std::vector<bool>& wanted) {
    variable_list result(3);  // of input, weight, bias
    if (!grads[0].defined()) return result;
    std::tie(result[0], result[1], result[2]) =
        call<LinearBackward>({grads[0], saved[0], saved[1], {wanted[0], wanted[1], wanted[2]}});
    return result;
  }
};

Tensor linear(c10::DispatchKeySet keys, const LinearInputs& in) {
  if (has_tangent(in)) return aten_linear(in);
  const auto node = node_for<LinearNode>(in);
  if (node) node->inputs = {save(in.input), save(in.weight)};
  Tensor output = run_below<Linear>(keys, in);
  if (node) set_history(output, node);
  return output;
}

LinearBackward::Outputs linear_backward(c10::DispatchKeySet keys, const LinearBackwardInputs& in) {
  if (has_tangent(in) || requires_grad(in)) return aten_linear_backward(in);
  return run_below<LinearBackward>(keys, in);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Autograd, m) {
  m.impl("linear", Kernel<Linear, linear>::call_with_keys);
  m.impl("linear_backward", Kernel<LinearBackward, linear_backward>::call_with_keys);
  m.impl("recurrence", Kernel<Recurrence, recurrence>::call_with_keys);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, recurrence_train>::call_with_keys);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call_with_keys);
}

}  // namespace fused_rnn
