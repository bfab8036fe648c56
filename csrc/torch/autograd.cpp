// Autograd kernels: they record a node, run the op below autograd, and save what backward needs.
// The _train ops are the differentiable ones; recurrence and layer become them wherever a gradient
// is wanted, and otherwise keep no tape. The order inside a kernel matters: edges, op, history,
// saved outputs.
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

#include <algorithm>

#include "torch/compositions.h"
#include "torch/node.h"
#include "torch/ops.h"
#include "torch/outputs.h"
#include "torch/unrolled.h"

namespace fused_rnn {
namespace {

using torch::autograd::collect_next_edges;
using torch::autograd::compute_requires_grad;
using torch::autograd::isFwGradDefined;
using torch::autograd::set_history;

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
void save_inputs(Node& node, const Inputs& in, const MaybeTensor& input,
                 const MaybeTensor& weight_ih, const MaybeTensor& bias_ih) {
  node.attributes = {std::string(in.cell), in.reverse};
  SavedVariable saved[] = {save(in.h_0),       save(in.c_0),         save(in.weight_hh),
                           save(in.weight_hr), save(in.batch_sizes), save(input),
                           save(weight_ih),    save(bias_ih),        save(in.bias_hh)};
  std::move(std::begin(saved), std::end(saved), node.inputs.begin());
}

// The gradients of the recurrence. The tape is handed over: a kernel may reuse the memory of one that
// nobody else holds.
RecurrenceBackward::Outputs recurrence_gradients(const variable_list& grads, variable_list& saved,
                                                 const Attributes& attributes,
                                                 std::array<bool, 4> output_mask) {
  Tensor* outputs = saved.data() + kSavedInputs;
  return call<RecurrenceBackward>({maybe(grads[0]), maybe(grads[1]), maybe(grads[2]), outputs[0],
                                   maybe(outputs[1]), maybe(std::move(outputs[2])), saved[kH0],
                                   maybe(saved[kC0]), saved[kWeightHh], maybe(saved[kWeightHr]),
                                   maybe(saved[kBatchSizes]), attributes.cell, attributes.reverse,
                                   output_mask, maybe(saved[kInput]), maybe(saved[kWeightIh]),
                                   maybe(saved[kBiasIh]), maybe(saved[kBiasHh])});
}

template <class NodePointer>
void save_outputs(const NodePointer& node, const RecurrenceTrain::Outputs& result) {
  const auto& [output, h_n, c_n, cells, tape] = result;
  for (const Tensor& differentiable : {output, h_n, c_n}) set_history(differentiable, node);
  node->outputs = {SavedVariable(output, /*is_output=*/true), save(cells), save(tape)};
}

template <class Outputs, class NodePointer>
void set_history_of_all(const Outputs& outputs, const NodePointer& node) {
  std::apply([&](const auto&... tensors) { (set_history(tensors, node), ...); }, outputs);
}

bool any_defined(const variable_list& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.defined(); });
}

struct RecurrenceNode : FormulaNode<RecurrenceNode, kSavedInputs, 3> {
  static constexpr const char* kName = "FusedRnnRecurrenceBackward";

  static variable_list formula(const variable_list& grads, variable_list saved,
                               const Attributes& attributes, const std::vector<bool>& wanted) {
    variable_list result(6);  // of xg, h_0, c_0, weight_hh, bias_hh, weight_hr
    if (!any_defined(grads)) return result;
    std::tie(result[0], result[1], result[2], result[3], result[4], result[5]) =
        recurrence_gradients(grads, saved, attributes,
                             {wanted[1], wanted[3], wanted[4], wanted[5]});
    return result;
  }
};

struct LayerNode : FormulaNode<LayerNode, kSavedInputs, 3> {
  static constexpr const char* kName = "FusedRnnLayerBackward";

  static variable_list formula(const variable_list& grads, variable_list saved,
                               const Attributes& attributes, const std::vector<bool>& wanted) {
    // Of input, weight_ih, bias_ih, h_0, c_0, weight_hh, bias_hh, weight_hr.
    variable_list result(8);
    if (!any_defined(grads)) return result;
    Tensor d_xg;
    std::tie(d_xg, result[3], result[4], result[5], result[6], result[7]) = recurrence_gradients(
        grads, saved, attributes, {wanted[3], wanted[5], wanted[6], wanted[7]});
    std::tie(result[0], result[1], result[2]) = call<LinearBackward>(
        {d_xg, maybe(saved[kInput]), maybe(saved[kWeightIh]), {wanted[0], wanted[1], wanted[2]}});
    return result;
  }
};

// The gradient of a gradient: of grad_output, grad_h_n, grad_c_n and of what output was made from.
struct SecondOrderNode : FormulaNode<SecondOrderNode, kSavedInputs + 3, 0> {
  static constexpr const char* kName = "FusedRnnRecurrenceBackwardBackward";

  static variable_list formula(const variable_list& grads, const variable_list& saved,
                               const Attributes& attributes, const std::vector<bool>& wanted) {
    // Of grad_output, grad_h_n, grad_c_n, h_0, c_0, weight_hh, weight_hr, input, weight_ih, bias_ih,
    // bias_hh; `grads` are of d_xg, d_h_0, d_c_0, d_weight_hh, d_bias_hh, d_weight_hr.
    variable_list result(11);
    if (!any_defined(grads)) return result;
    const Tensor* incoming = saved.data() + kSavedInputs;
    const MaybeTensor input = maybe(saved[kInput]), weight_ih = maybe(saved[kWeightIh]);
    const MaybeTensor bias_ih = maybe(saved[kBiasIh]);
    const Tensor xg = xg_of(input, weight_ih, bias_ih);
    Tensor d_xg;
    std::tie(result[0], result[1], result[2], d_xg, result[3], result[4], result[5], result[10],
             result[6]) =
        call<RecurrenceDoubleBackward>(
            {maybe(incoming[0]), maybe(incoming[1]), maybe(incoming[2]), maybe(grads[0]),
             maybe(grads[1]), maybe(grads[2]), maybe(grads[3]), maybe(grads[4]), maybe(grads[5]),
             xg, saved[kH0], maybe(saved[kC0]), saved[kWeightHh], maybe(saved[kBiasHh]),
             maybe(saved[kWeightHr]), maybe(saved[kBatchSizes]), attributes.cell,
             attributes.reverse});
    if (weight_ih) {
      std::tie(result[7], result[8], result[9]) =
          call<LinearBackward>({d_xg, input, weight_ih, {wanted[7], wanted[8], wanted[9]}});
    } else {
      result[7] = d_xg;
    }
    return result;
  }
};

RecurrenceTrain::Outputs recurrence_train(c10::DispatchKeySet keys, const ForwardInputs& in) {
  if (has_tangent(in)) return unrolled_train(in);
  const auto node = node_for<RecurrenceNode>(in);
  if (node) save_inputs(*node, in, in.xg, std::nullopt, std::nullopt);
  auto result = run_below<RecurrenceTrain>(keys, in);
  if (node) save_outputs(node, result);
  return result;
}

LayerTrain::Outputs layer_train(c10::DispatchKeySet keys, const LayerInputs& in) {
  if (has_tangent(in)) return layer_of_two<RecurrenceTrain>(in);
  const auto node = node_for<LayerNode>(in);
  if (node) save_inputs(*node, in, in.input, in.weight_ih, in.bias_ih);
  auto result = run_below<LayerTrain>(keys, in);
  if (node) save_outputs(node, result);
  return result;
}

// The op without a tape; where a gradient is wanted, its twin that keeps one.
template <class Op, class Train, auto with_tangents>
typename Op::Outputs with_tape_if_needed(c10::DispatchKeySet keys, const typename Op::Inputs& in) {
  if (has_tangent(in)) return with_tangents(in);
  return requires_grad(in) ? without_tape(call<Train>(in)) : run_below<Op>(keys, in);
}

RecurrenceBackward::Outputs recurrence_backward(c10::DispatchKeySet keys,
                                                const BackwardInputs& in) {
  if (has_tangent(in)) return unrolled_backward(in);
  const auto node = node_for<SecondOrderNode>(in);
  if (node) {
    save_inputs(*node, in, in.input, in.weight_ih, in.bias_ih);
    node->inputs[kSavedInputs] = save(in.grad_output);
    node->inputs[kSavedInputs + 1] = save(in.grad_h_n);
    node->inputs[kSavedInputs + 2] = save(in.grad_c_n);
  }
  auto result = run_below<RecurrenceBackward>(keys, in);
  if (node) set_history_of_all(result, node);
  return result;
}

RecurrenceDoubleBackward::Outputs recurrence_double_backward(c10::DispatchKeySet keys,
                                                             const DoubleBackwardInputs& in) {
  if (has_tangent(in) || requires_grad(in)) return unrolled_double_backward(in);
  return run_below<RecurrenceDoubleBackward>(keys, in);
}

struct LinearNode : FormulaNode<LinearNode, 2, 0> {
  static constexpr const char* kName = "FusedRnnLinearBackward";

  static variable_list formula(const variable_list& grads, const variable_list& saved,
                               const Attributes&, const std::vector<bool>& wanted) {
    variable_list result(3);  // of input, weight, bias
    if (!grads[0].defined()) return result;
    std::tie(result[0], result[1], result[2]) = call<LinearBackward>(
        {grads[0], maybe(saved[0]), maybe(saved[1]), {wanted[0], wanted[1], wanted[2]}});
    return result;
  }
};

Tensor linear(c10::DispatchKeySet keys, const LinearInputs& in) {
  if (has_tangent(in)) return aten_linear(in);
  const auto node = node_for<LinearNode>(in);
  if (node && node->should_compute_output(1)) node->inputs[0] = save(in.input);
  if (node && node->should_compute_output(0)) node->inputs[1] = save(in.weight);
  Tensor output = run_below<Linear>(keys, in);
  if (node) set_history(output, node);
  return output;
}

// d_input = grad_output @ weight, d_weight = grad_output^T @ input and d_bias, the sum of grad_output, are
// linear layers again, in each factor.
struct LinearBackwardNode : FormulaNode<LinearBackwardNode, 3, 0> {
  static constexpr const char* kName = "FusedRnnLinearBackwardBackward";

  static variable_list formula(const variable_list& grads, const variable_list& saved,
                               const Attributes&, const std::vector<bool>& wanted) {
    const auto &along_input = grads[0], &along_weight = grads[1], &along_bias = grads[2];
    const auto &grad_output = saved[0], &input = saved[1], &weight = saved[2];
    variable_list result(3);  // of grad_output, input, weight
    if (wanted[0]) {
      const auto add = [&](const Tensor& term) {  // not in place: vmap may have batched one alone
        result[0] = result[0].defined() ? at::add(result[0], term) : term;
      };
      if (along_input.defined()) add(call<Linear>({along_input, weight, std::nullopt}));
      if (along_weight.defined()) add(call<Linear>({input, along_weight, maybe(along_bias)}));
      if (along_bias.defined() && !along_weight.defined()) add(along_bias.expand_as(grad_output));
    }
    if (wanted[1] && along_weight.defined()) {
      result[1] = std::get<0>(
          call<LinearBackward>({grad_output, std::nullopt, along_weight, {true, false, false}}));
    }
    if (wanted[2] && along_input.defined()) {
      result[2] = std::get<1>(
          call<LinearBackward>({grad_output, along_input, std::nullopt, {false, true, false}}));
    }
    return result;
  }
};

LinearBackward::Outputs linear_backward(c10::DispatchKeySet keys, const LinearBackwardInputs& in) {
  if (has_tangent(in)) return aten_linear_backward(in);
  const auto node = node_for<LinearBackwardNode>(in);
  if (node) node->inputs = {save(in.grad_output), save(in.input), save(in.weight)};
  auto result = run_below<LinearBackward>(keys, in);
  if (node) set_history_of_all(result, node);
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Autograd, m) {
  m.impl("linear", Kernel<Linear, linear>::call_with_keys);
  m.impl("linear_backward", Kernel<LinearBackward, linear_backward>::call_with_keys);
  m.impl("recurrence",
         Kernel<Recurrence,
                with_tape_if_needed<Recurrence, RecurrenceTrain, unrolled>>::call_with_keys);
  m.impl("layer",
         Kernel<Layer,
                with_tape_if_needed<Layer, LayerTrain, layer_of_two<Recurrence>>>::call_with_keys);
  m.impl("layer_train", Kernel<LayerTrain, layer_train>::call_with_keys);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, recurrence_train>::call_with_keys);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call_with_keys);
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, recurrence_double_backward>::call_with_keys);
}

}  // namespace fused_rnn
