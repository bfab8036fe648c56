// A node of the autograd graph as PyTorch's own generated code writes them, with the two methods
// that compiled autograd asks for. A node says kName, a static `formula` from gradients, saved
// tensors, attributes and the wanted outputs to the gradients of its inputs, and kLike: for each of
// these the saved tensor that it has the shape of.
#pragma once
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/dynamo/compiled_autograd.h>
#include <torch/version.h>

#include <algorithm>
#include <string>

#include "torch/ops.h"

namespace fused_rnn {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// Nodes are owned by an intrusive pointer from torch 2.13 on, by a shared pointer before.
template <class N>
auto make_node() {
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 13
  return c10::make_intrusive<N>();
#else
  return std::shared_ptr<N>(new N(), torch::autograd::deleteNode);
#endif
}

// What a node holds beside tensors.
struct Attributes {
  std::string cell;
  bool reverse = false;
};

template <class Self, size_t kInputs, size_t kOutputs>
struct FormulaNode : torch::autograd::Node {
  using SavedTensors = std::array<MaybeTensor, kInputs + kOutputs>;

  std::array<SavedVariable, kInputs> inputs;
  std::array<SavedVariable, kOutputs> outputs;
  Attributes attributes;

  std::string name() const override { return Self::kName; }

  void release_variables() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    release();
  }

  variable_list apply(variable_list&& grads) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    SavedTensors saved = unpack();
    // As the engine would after this call; the formula may then own what it is given.
    if (!torch::autograd::get_current_graph_task_keep_graph()) release();
    return run(grads, saved, attributes, wanted());
  }

  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    for (const auto& saved : inputs) args.collect(saved, /*is_output=*/false);
    for (const auto& saved : outputs) args.collect(saved, /*is_output=*/true);
    args.collect(attributes.cell);
    args.collect(attributes.reverse);
  }

  variable_list apply_with_saved(const variable_list& grads,
                                 torch::dynamo::autograd::SwapSavedVariables& swap) override {
    using namespace torch::dynamo::autograd;
    for (auto& saved : inputs) swap.before(saved);
    for (auto& saved : outputs) swap.before(saved);
    PackedArgs packed;
    variable_list tensors;
    for (const MaybeTensor& saved : unpack()) tensors.push_back(saved.value_or(at::Tensor()));
    packed.pack(tensors);
    packed.pack(attributes.cell);
    packed.pack(attributes.reverse);
    packed.pack(wanted());
    std::vector<at::IValue> args = std::move(packed).vec();
    std::vector<at::TypePtr> schema;
    for (const at::IValue& arg : args) {
      schema.push_back(arg.isTensor() ? at::TypePtr(at::TensorType::get()) : arg.type());
    }
    const auto metadata =
        IValuePacker<std::vector<std::optional<torch::autograd::InputMetadata>>>::pack(
            get_input_metadata(next_edges()));
    const auto& compiler = getPyCompilerInterface();
    // As a custom function it may be bound again under its name, once a node of the graph.
    const auto function =
        compiler->bind_function(swap.get_py_compiler(), name(), packed_formula, schema,
                                /*is_custom_function=*/true, /*is_traceable=*/true);
    variable_list result = compiler->call_function(swap.get_py_compiler(), "apply_functional",
                                                   function, grads, args, metadata);
    for (auto& saved : inputs) swap.after(saved);
    for (auto& saved : outputs) swap.after(saved);
    return result;
  }

 private:
  void release() {
    for (auto& saved : inputs) saved.reset_data();
    for (auto& saved : outputs) saved.reset_data();
  }

  // Autocast has chosen the dtypes of forward, and chooses none here.
  static variable_list run(const variable_list& grads, SavedTensors& saved,
                           const Attributes& attributes, const std::vector<bool>& wanted) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    return Self::formula(grads, saved, attributes, wanted);
  }

  SavedTensors unpack() {
    SavedTensors tensors;
    auto next = tensors.begin();
    for (const auto& saved : inputs) *next++ = maybe(saved.unpack());
    const auto self = getptr();
    for (const auto& saved : outputs) *next++ = maybe(saved.unpack(self));
    return tensors;
  }

  std::vector<bool> wanted() {
    std::vector<bool> result(num_outputs());
    for (size_t i = 0; i < result.size(); ++i) result[i] = task_should_compute_output(i);
    return result;
  }

  static variable_list packed_formula(const variable_list& grads,
                                      const std::vector<at::IValue>& args) {
    torch::dynamo::autograd::PackedArgs packed(args);
    const auto tensors = packed.unpack<variable_list>();
    SavedTensors saved;
    std::transform(tensors.begin(), tensors.end(), saved.begin(), maybe);
    Attributes attributes;
    attributes.cell = packed.unpack<std::string>();
    attributes.reverse = packed.unpack<bool>();
    const auto wanted = packed.unpack<std::vector<bool>>();
    variable_list result = run(grads, saved, attributes, wanted);
    for (size_t i = 0; i < result.size();
         ++i) {  // the engine takes undefined for zero, a graph does not
      const at::Tensor& like = tensors[Self::kLike[i]];
      if (wanted[i] && !result[i].defined() && like.defined()) result[i] = at::zeros_like(like);
    }
    return result;
  }
};

}  // namespace fused_rnn
