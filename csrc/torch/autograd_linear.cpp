// Autograd kernels of the linear layer, whose derivatives are linear layers again.
#include <torch/library.h>

#include "torch/autograd.h"
#include "torch/compositions.h"

namespace fused_rnn {
namespace {

struct LinearNode : FormulaNode<LinearNode, 2, 0> {
  static constexpr const char* kName = "FusedRnnLinearBackward";
  static constexpr size_t kLike[] = {0, 1, 0};  // of what it has, none is undefined

  static variable_list formula(const variable_list& grads, SavedTensors& saved, const Attributes&,
                               const std::vector<bool>& wanted) {
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
  static constexpr size_t kLike[] = {0, 1, 2};

  static variable_list formula(const variable_list& grads, SavedTensors& saved, const Attributes&,
                               const std::vector<bool>& wanted) {
    const auto &along_input = grads[0], &along_weight = grads[1], &along_bias = grads[2];
    const auto &grad_output = saved[0], &input = saved[1], &weight = saved[2];
    variable_list result(3);  // of grad_output, input, weight
    if (wanted[0]) {
      const auto add = [&](const Tensor& term) {  // not in place: vmap may have batched one alone
        result[0] = result[0].defined() ? at::add(result[0], term) : term;
      };
      if (along_input.defined()) add(call<Linear>({along_input, *weight, std::nullopt}));
      if (along_weight.defined()) add(call<Linear>({*input, along_weight, maybe(along_bias)}));
      if (along_bias.defined() && !along_weight.defined()) add(along_bias.expand_as(*grad_output));
    }
    if (wanted[1] && along_weight.defined()) {
      result[1] = std::get<0>(
          call<LinearBackward>({*grad_output, std::nullopt, along_weight, {true, false, false}}));
    }
    if (wanted[2] && along_input.defined()) {
      result[2] = std::get<1>(
          call<LinearBackward>({*grad_output, along_input, std::nullopt, {false, true, false}}));
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
}

}  // namespace fused_rnn
