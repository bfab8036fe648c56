// Autograd kernels of the gradients of the recurrence: its second derivative, which has a kernel, and
// all others.
#include <torch/csrc/python_headers.h>
// After Python's.
#include <ATen/ops/alias.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/library.h>

#include "torch/autograd.h"
#include "torch/unrolled.h"

namespace fused_rnn {
namespace {

// The gradient of a gradient: of grad_output, grad_h_n, grad_c_n and of what output was made from.
struct SecondOrderNode : FormulaNode<SecondOrderNode, kSavedInputs + 6, 0> {
  static constexpr const char* kName = "FusedRnnRecurrenceBackwardBackward";
  static constexpr size_t kLike[] = {kSavedInputs, kSavedInputs + 1, kSavedInputs + 2, kH0,
                                     kC0,          kWeightHh,        kWeightHr,        kInput,
                                     kWeightIh,    kBiasIh,          kBiasHh};

  static variable_list formula(const variable_list& grads, SavedTensors& saved,
                               const Attributes& attributes, const std::vector<bool>& wanted) {
    // Of grad_output, grad_h_n, grad_c_n, h_0, c_0, weight_hh, weight_hr, input, weight_ih, bias_ih,
    // bias_hh; `grads` are of d_xg, d_h_0, d_c_0, d_weight_hh, d_bias_hh, d_weight_hr.
    variable_list result(11);
    if (!any_defined(grads)) return result;
    const MaybeTensor *incoming = saved.data() + kSavedInputs, *kept = incoming + 3;
    const MaybeTensor& weight_ih = saved[kWeightIh];
    check_origin(saved[kInput]);
    Tensor d_xg;
    std::tie(result[0], result[1], result[2], d_xg, result[3], result[4], result[5], result[10],
             result[6]) =
        call<RecurrenceDoubleBackward>({incoming[0],
                                        incoming[1],
                                        incoming[2],
                                        maybe(grads[0]),
                                        maybe(grads[1]),
                                        maybe(grads[2]),
                                        maybe(grads[3]),
                                        maybe(grads[4]),
                                        maybe(grads[5]),
                                        *saved[kInput],
                                        weight_ih,
                                        saved[kBiasIh],
                                        *saved[kH0],
                                        saved[kC0],
                                        *saved[kWeightHh],
                                        saved[kBiasHh],
                                        saved[kWeightHr],
                                        *kept[0],
                                        kept[1],
                                        kept[2],
                                        saved[kBatchSizes],
                                        attributes.cell,
                                        attributes.reverse,
                                        {wanted[3], wanted[5], wanted[10], wanted[6]}});
    if (weight_ih) {
      std::tie(result[7], result[8], result[9]) =
          call<LinearBackward>({d_xg, saved[kInput], weight_ih, {wanted[7], wanted[8], wanted[9]}});
    } else {
      result[7] = d_xg;
    }
    return result;
  }
};

RecurrenceBackward::Outputs recurrence_backward(c10::DispatchKeySet keys,
                                                const BackwardInputs& in) {
  if (has_tangent(in)) return unrolled_backward(in);
  const auto node = node_for<SecondOrderNode>(in);
  if (node) {
    save_inputs(*node, in, in.input, in.weight_ih, in.bias_ih);
    auto saved = node->inputs.begin() + kSavedInputs;
    for (const MaybeTensor& tensor : {in.grad_output, in.grad_h_n, in.grad_c_n}) {
      *saved++ = save(tensor);
    }
    // These have no derivative of their own, and need not keep the graph that made them.
    for (const MaybeTensor& tensor : {MaybeTensor(in.output), in.cells, in.tape}) {
      *saved++ = save(defined(tensor) ? MaybeTensor(tensor->detach()) : std::nullopt);
    }
  }
  auto result = run_below<RecurrenceBackward>(keys, in);
  if (node) set_history_of_all(result, node);
  return result;
}

std::vector<Tensor> list_of(const auto& tensors) {
  const auto plain = [](const MaybeTensor& tensor) { return tensor.value_or(Tensor()); };
  return std::apply([&](const auto&... each) { return std::vector<Tensor>{plain(each)...}; },
                    tensors);
}

// The gradient of double backward: it runs again, unrolled, and ATen differentiates that.
struct ThirdOrderNode : FormulaNode<ThirdOrderNode, 21, 0> {
  static constexpr const char* kName = "FusedRnnRecurrenceDoubleBackwardBackward";
  static constexpr size_t kLike[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

  static variable_list formula(const variable_list& grads, SavedTensors& saved,
                               const Attributes& attributes, const std::vector<bool>& wanted) {
    const bool create_graph = at::GradMode::is_enabled();
    const c10::InferenceMode no_inference(false);  // in which nothing is recorded
    const at::AutoGradMode with_grad(true);
    const size_t count = wanted.size();  // output, cells, tape and batch_sizes come after them
    std::vector<MaybeTensor> again;
    variable_list inputs, outputs, grad_outputs, result(count);
    for (size_t i = 0; i < count; ++i) {
      again.push_back(saved[i]);
      if (!again[i]) continue;
      // New names, at which the derivative ends; a graph goes on from them to the arguments.
      again[i] = create_graph ? at::alias(*saved[i]) : saved[i]->detach();
      if (!wanted[i]) continue;
      if (!again[i]->requires_grad()) again[i]->requires_grad_();
      inputs.push_back(*again[i]);
    }
    for (size_t i = count; i < count + 3; ++i) again.push_back(saved[i]);
    const auto made = list_of(unrolled_double_backward(
        DoubleBackwardInputs::from(again, saved[count + 3], attributes.cell, attributes.reverse)));
    for (size_t i = 0; i < made.size(); ++i) {
      if (!grads[i].defined() || !made[i].defined() || !made[i].requires_grad()) continue;
      outputs.push_back(made[i]);
      grad_outputs.push_back(grads[i]);
    }
    if (outputs.empty()) return result;
    std::optional<pybind11::gil_scoped_release> no_gil;  // compiled autograd calls from Python
    if (PyGILState_Check()) no_gil.emplace();
    const variable_list found =
        torch::autograd::grad(outputs, inputs, grad_outputs, /*retain_graph=*/create_graph,
                              create_graph, /*allow_unused=*/true);
    for (size_t i = 0, next = 0; i < count; ++i) {
      if (wanted[i] && again[i]) result[i] = found[next++];
    }
    return result;
  }
};

RecurrenceDoubleBackward::Outputs recurrence_double_backward(c10::DispatchKeySet keys,
                                                             const DoubleBackwardInputs& in) {
  if (has_tangent(in)) return unrolled_double_backward(in);
  const auto node = node_for<ThirdOrderNode>(in);
  if (node) {
    node->attributes = {std::string(in.cell), in.reverse};
    const auto tensors = list_of(std::tuple_cat(in.differentiable(), in.kept()));
    for (size_t i = 0; i < tensors.size(); ++i) node->inputs[i] = save(tensors[i]);
    node->inputs[tensors.size()] = save(in.batch_sizes);
  }
  auto result = run_below<RecurrenceDoubleBackward>(keys, in);
  if (node) set_history_of_all(result, node);
  return result;
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, Autograd, m) {
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call_with_keys);
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, recurrence_double_backward>::call_with_keys);
}

}  // namespace fused_rnn
