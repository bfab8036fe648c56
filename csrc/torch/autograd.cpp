// Autograd kernels of the recurrence and of the layer. The _train ops are the differentiable ones;
// recurrence and layer become them wherever a gradient is wanted, and otherwise keep no tape.
#include "torch/autograd.h"

#include <torch/library.h>

#include <utility>

#include "torch/compositions.h"
#include "torch/outputs.h"
#include "torch/unrolled.h"

namespace fused_rnn {
namespace {

// The gradients of the recurrence. The tape is handed over: a kernel may reuse the memory of one that
// nobody else holds.
RecurrenceBackward::Outputs recurrence_gradients(const variable_list& grads, auto& saved,
                                                 const Attributes& attributes,
                                                 std::array<bool, 4> output_mask) {
  MaybeTensor* outputs = saved.data() + kSavedInputs;
  const MaybeTensor tape = std::exchange(outputs[2], std::nullopt);
  return call<RecurrenceBackward>({maybe(grads[0]), maybe(grads[1]), maybe(grads[2]), *outputs[0],
                                   outputs[1], tape, *saved[kH0], saved[kC0], *saved[kWeightHh],
                                   saved[kWeightHr], saved[kBatchSizes], attributes.cell,
                                   attributes.reverse, output_mask, saved[kInput], saved[kWeightIh],
                                   saved[kBiasIh], saved[kBiasHh]});
}

template <class NodePointer>
void save_outputs(const NodePointer& node, const RecurrenceTrain::Outputs& result) {
  const auto& [output, h_n, c_n, cells, tape] = result;
  for (const Tensor& differentiable : {output, h_n, c_n}) set_history(differentiable, node);
  node->outputs = {SavedVariable(output, /*is_output=*/true), save(cells), save(tape)};
}

struct RecurrenceNode : FormulaNode<RecurrenceNode, kSavedInputs, 3> {
  static constexpr const char* kName = "FusedRnnRecurrenceBackward";
  static constexpr size_t kLike[] = {kInput, kH0, kC0, kWeightHh, kBiasHh, kWeightHr};

  static variable_list formula(const variable_list& grads, SavedTensors& saved,
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
  static constexpr size_t kLike[] = {kInput, kWeightIh, kBiasIh, kH0,
                                     kC0,    kWeightHh, kBiasHh, kWeightHr};

  static variable_list formula(const variable_list& grads, SavedTensors& saved,
                               const Attributes& attributes, const std::vector<bool>& wanted) {
    // Of input, weight_ih, bias_ih, h_0, c_0, weight_hh, bias_hh, weight_hr.
    variable_list result(8);
    if (!any_defined(grads)) return result;
    Tensor d_xg;
    std::tie(d_xg, result[3], result[4], result[5], result[6], result[7]) = recurrence_gradients(
        grads, saved, attributes, {wanted[3], wanted[5], wanted[6], wanted[7]});
    std::tie(result[0], result[1], result[2]) = call<LinearBackward>(
        {d_xg, saved[kInput], saved[kWeightIh], {wanted[0], wanted[1], wanted[2]}});
    return result;
  }
};

void save_inputs(RecurrenceNode& node, const ForwardInputs& in) {
  save_inputs(node, in, in.xg, MaybeTensor(), MaybeTensor());
}
void save_inputs(LayerNode& node, const LayerInputs& in) {
  save_inputs(node, in, in.input, in.weight_ih, in.bias_ih);
}

// The op that keeps a tape, with its history in the node.
template <class Train, class NodePointer>
typename Train::Outputs record(const NodePointer& node, c10::DispatchKeySet keys,
                               const typename Train::Inputs& in) {
  save_inputs(*node, in);
  auto result = run_below<Train>(keys, in);
  save_outputs(node, result);
  return result;
}

template <class Train, class Node, auto with_tangents>
typename Train::Outputs train(c10::DispatchKeySet keys, const typename Train::Inputs& in) {
  if (has_tangent(in)) return with_tangents(in);
  const auto node = node_for<Node>(in);
  return node ? record<Train>(node, keys, in) : run_below<Train>(keys, in);
}

// The op without a tape; where a gradient is wanted, its twin that keeps one. Below autograd both have
// kernels for the same keys.
template <class Op, class Train, class Node, auto with_tangents>
typename Op::Outputs infer(c10::DispatchKeySet keys, const typename Op::Inputs& in) {
  if (has_tangent(in)) return with_tangents(in);
  const auto node = node_for<Node>(in);
  return node ? without_tape(record<Train>(node, keys, in)) : run_below<Op>(keys, in);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Autograd, m) {
  m.impl("recurrence",
         Kernel<Recurrence,
                infer<Recurrence, RecurrenceTrain, RecurrenceNode, unrolled>>::call_with_keys);
  m.impl("recurrence_train",
         Kernel<RecurrenceTrain,
                train<RecurrenceTrain, RecurrenceNode, unrolled_train>>::call_with_keys);
  m.impl(
      "layer",
      Kernel<Layer, infer<Layer, LayerTrain, LayerNode, layer_of_two<Recurrence>>>::call_with_keys);
  m.impl("layer_train",
         Kernel<LayerTrain,
                train<LayerTrain, LayerNode, layer_of_two<RecurrenceTrain>>>::call_with_keys);
}

}  // namespace fused_rnn
