#include "torch/stack.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "torch/check.h"

namespace fused_rnn {
namespace {

struct Weights {  // of one layer in one direction
  Tensor ih, hh;
  MaybeTensor bias_ih, bias_hh, hr;

  c10::SymInt out() const { return hh.sym_size(1); }
  c10::SymInt hidden() const { return (hr ? *hr : hh).sym_size(1); }
};

std::vector<Weights> weights_of(const StackInputs& in) {
  const size_t biases = in.has_bias ? 2 : 0, each = 2 + biases + in.has_projection;
  std::vector<Weights> result;
  if (in.weights.size() % each) return result;
  for (size_t first = 0; first + each <= in.weights.size(); first += each) {
    const Tensor* w = in.weights.data() + first;
    result.push_back({w[0], w[1], biases ? MaybeTensor(w[2]) : std::nullopt,
                      biases ? MaybeTensor(w[3]) : std::nullopt,
                      in.has_projection ? MaybeTensor(w[each - 1]) : std::nullopt});
  }
  return result;
}

bool fits(const StackInputs& in, const std::vector<Weights>& weights, bool has_c) {
  const auto matrices = [](const Weights& w) {
    return is_dense(w.ih, 2) && is_dense(w.hh, 2) && (!w.hr || is_dense(*w.hr, 2));
  };
  const auto count = static_cast<int64_t>(weights.size());
  if (count == 0 || count != in.num_layers * (in.bidirectional ? 2 : 1) ||
      !std::all_of(weights.begin(), weights.end(), matrices)) {
    return false;
  }
  const Weights& first = weights[0];
  if (!is_dense(in.input, 3) || in.input.scalar_type() != first.ih.scalar_type() ||
      in.input.sym_size(2) != in.input_size || first.ih.sym_size(1) != in.input_size ||
      first.hidden() != in.hidden_size) {
    return false;
  }
  const auto state = [&](const Tensor& tensor, const c10::SymInt& features) {
    return is_dense(tensor, 3) && tensor.sym_size(0) == count &&
           tensor.sym_size(1) == in.input.sym_size(in.batch_first ? 0 : 1) &&
           tensor.sym_size(2) == features;
  };
  if (!in.h_0 || !has_c) return !in.c_0 && (!in.h_0 || state(*in.h_0, first.out()));
  return in.c_0 && state(*in.h_0, first.out()) && state(*in.c_0, first.hidden());
}

// The initial state of each layer and direction; zeros are one tensor for all.
std::vector<Tensor> states(const MaybeTensor& given, const Tensor& input, const c10::SymInt& width,
                           size_t count) {
  if (!given) return {count, input.new_zeros_symint({input.sym_size(1), width})};
  return count == 1 ? std::vector<Tensor>{given->squeeze(0)} : given->unbind(0);
}

Tensor stacked(const std::vector<Tensor>& states) {
  return states.size() == 1 ? states[0].unsqueeze(0) : at::stack(states);
}

}  // namespace

std::optional<Layer::Outputs> stack_layers(const StackInputs& in) {
  const bool has_c = Cells::kInfo[find_cell(in.cell)].has_c;
  const std::vector<Weights> weights = weights_of(in);
  if (!fits(in, weights, has_c)) return std::nullopt;
  const size_t count = weights.size(), directions = in.bidirectional ? 2 : 1;
  // Copied once: forward and backward both take the rows step by step.
  Tensor x = in.batch_first ? in.input.transpose(0, 1).contiguous() : in.input;
  const std::vector<Tensor> h_0 = states(in.h_0, x, weights[0].out(), count);
  std::vector<Tensor> c_0, h_n, c_n, outputs;
  if (has_c) {
    c_0 = in.h_0 || weights[0].hr ? states(in.c_0, x, weights[0].hidden(), count) : h_0;
  }
  for (size_t i = 0; i < count; ++i) {
    const Weights& w = weights[i];
    const MaybeTensor c = has_c ? MaybeTensor(c_0[i]) : std::nullopt, no_batch_sizes;
    const bool reverse = i % directions == 1;
    auto [output, h, c_after] = call<Layer>(
        {x, w.ih, w.bias_ih, h_0[i], c, w.hh, w.bias_hh, w.hr, no_batch_sizes, in.cell, reverse});
    h_n.push_back(h);
    if (has_c) c_n.push_back(*c_after);
    outputs.push_back(output);
    if (outputs.size() < directions) continue;
    x = directions == 1 ? output : at::cat(outputs, -1);
    outputs.clear();
  }
  if (in.batch_first) x = x.transpose(0, 1);
  return Layer::Outputs{x, stacked(h_n), has_c ? MaybeTensor(stacked(c_n)) : std::nullopt};
}

}  // namespace fused_rnn
