// The family of ops, one schema for all cells. An op's arguments travel as one struct: Kernel makes
// a function over the struct a kernel of the op, call and redispatch pass the struct on.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <array>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

namespace fused_rnn {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;

inline bool defined(const MaybeTensor& tensor) { return tensor && tensor->defined(); }
inline MaybeTensor maybe(Tensor tensor) {
  return tensor.defined() ? MaybeTensor(std::move(tensor)) : std::nullopt;
}

// The inputs of recurrence and recurrence_train, in the order of their schema.
struct ForwardInputs {
  const Tensor& xg;                // [steps, batch, gates * hidden], one step: [batch, ...],
                                   // packed: [rows, ...]
  const Tensor& h_0;               // [batch, out]
  const MaybeTensor& c_0;          // [batch, hidden]
  const Tensor& weight_hh;         // [gates * hidden, out]
  const MaybeTensor& bias_hh;      // [gates * hidden]
  const MaybeTensor& weight_hr;    // [out, hidden]
  const MaybeTensor& batch_sizes;  // [steps] int64 on the CPU
  std::string_view cell;
  bool reverse;

  auto differentiable() const { return std::tie(xg, h_0, c_0, weight_hh, bias_hh, weight_hr); }
  auto all() const {
    return std::tuple_cat(differentiable(), std::tie(batch_sizes, cell, reverse));
  }
};

// The inputs of recurrence_backward, likewise.
struct BackwardInputs {
  const MaybeTensor& grad_output;  // as output, h_n and c_n
  const MaybeTensor& grad_h_n;
  const MaybeTensor& grad_c_n;
  const Tensor& output;  // output, cells and tape as recurrence_train gave them: functions of the
  const MaybeTensor& cells;  // rest, with no derivative of their own
  const MaybeTensor& tape;
  const Tensor& h_0;
  const MaybeTensor& c_0;
  const Tensor& weight_hh;
  const MaybeTensor& weight_hr;
  const MaybeTensor& batch_sizes;
  std::string_view cell;
  bool reverse;
  std::array<bool, 4>
      output_mask;           // which of d_h_0, d_weight_hh, d_bias_hh, d_weight_hr are wanted
  const MaybeTensor& input;  // xg, or with weight_ih what it is made from: a derivative of this op
  const MaybeTensor& weight_ih;  // asks for it
  const MaybeTensor& bias_ih;
  const MaybeTensor& bias_hh;

  auto differentiable() const {
    return std::tie(grad_output, grad_h_n, grad_c_n, h_0, c_0, weight_hh, weight_hr, input,
                    weight_ih, bias_ih, bias_hh);
  }
  auto all() const {
    return std::tie(grad_output, grad_h_n, grad_c_n, output, cells, tape, h_0, c_0, weight_hh,
                    weight_hr, batch_sizes, cell, reverse, output_mask, input, weight_ih, bias_ih,
                    bias_hh);
  }
};

// The gradients of sum(along * recurrence_backward), which is here a function of its gradients and of
// recurrence's arguments.
struct DoubleBackwardInputs {
  const MaybeTensor& grad_output;  // as for recurrence_backward
  const MaybeTensor& grad_h_n;
  const MaybeTensor& grad_c_n;
  const MaybeTensor& along_xg;  // each of the shape of the argument of that name
  const MaybeTensor& along_h_0;
  const MaybeTensor& along_c_0;
  const MaybeTensor& along_weight_hh;
  const MaybeTensor& along_bias_hh;
  const MaybeTensor& along_weight_hr;
  const Tensor& input;  // xg, or with weight_ih what it is made from; d_xg is the gradient of xg
  const MaybeTensor& weight_ih;
  const MaybeTensor& bias_ih;
  const Tensor& h_0;
  const MaybeTensor& c_0;
  const Tensor& weight_hh;
  const MaybeTensor& bias_hh;
  const MaybeTensor& weight_hr;
  const Tensor& output;  // output, cells and tape as for recurrence_backward, which a kernel reads
  const MaybeTensor& cells;
  const MaybeTensor& tape;
  const MaybeTensor& batch_sizes;
  std::string_view cell;
  bool reverse;
  std::array<bool, 4> output_mask;  // as for recurrence_backward

  auto differentiable() const {
    return std::tie(grad_output, grad_h_n, grad_c_n, along_xg, along_h_0, along_c_0,
                    along_weight_hh, along_bias_hh, along_weight_hr, input, weight_ih, bias_ih, h_0,
                    c_0, weight_hh, bias_hh, weight_hr);
  }
  auto kept() const { return std::tie(output, cells, tape); }
  auto all() const {
    return std::tuple_cat(differentiable(), kept(),
                          std::tie(batch_sizes, cell, reverse, output_mask));
  }

  // What it is the second derivative of.
  ForwardInputs forward(const Tensor& xg) const {
    return {xg, h_0, c_0, weight_hh, bias_hh, weight_hr, batch_sizes, cell, reverse};
  }

  // From the tensors of differentiable() and kept(), which are referred to, all wanted.
  static DoubleBackwardInputs from(const std::vector<MaybeTensor>& t,
                                   const MaybeTensor& batch_sizes, std::string_view cell,
                                   bool reverse) {
    return {t[0],  t[1],   t[2],  t[3],  t[4],        t[5],  t[6],    t[7],
            t[8],  *t[9],  t[10], t[11], *t[12],      t[13], *t[14],  t[15],
            t[16], *t[17], t[18], t[19], batch_sizes, cell,  reverse, {true, true, true, true}};
  }
};

// The projection before the recurrence: a linear layer, as at::linear.
struct LinearInputs {
  const Tensor& input;      // [..., in]
  const Tensor& weight;     // [out, in]
  const MaybeTensor& bias;  // [out]

  auto differentiable() const { return std::tie(input, weight, bias); }
  auto all() const { return differentiable(); }
};

struct LinearBackwardInputs {
  const Tensor& grad_output;        // [..., out]
  const MaybeTensor& input;         // [..., in], needed for d_weight
  const MaybeTensor& weight;        // [out, in], needed for d_input
  std::array<bool, 3> output_mask;  // whether d_input, d_weight, d_bias are wanted

  auto differentiable() const { return std::tie(grad_output, input, weight); }
  auto all() const { return std::tuple_cat(differentiable(), std::tie(output_mask)); }
};

// A layer in one direction: the recurrence over the projected input.
struct LayerInputs {
  const Tensor& input;         // [steps, batch, in], one step: [batch, in], packed: [rows, in]
  const Tensor& weight_ih;     // [gates * hidden, in]
  const MaybeTensor& bias_ih;  // [gates * hidden]
  const Tensor& h_0;           // from here on as in ForwardInputs
  const MaybeTensor& c_0;
  const Tensor& weight_hh;
  const MaybeTensor& bias_hh;
  const MaybeTensor& weight_hr;
  const MaybeTensor& batch_sizes;
  std::string_view cell;
  bool reverse;

  auto differentiable() const {
    return std::tie(input, weight_ih, bias_ih, h_0, c_0, weight_hh, bias_hh, weight_hr);
  }
  auto all() const {
    return std::tuple_cat(differentiable(), std::tie(batch_sizes, cell, reverse));
  }
};

template <class Outputs>
using ForwardSignature = Outputs(const Tensor&, const Tensor&, const MaybeTensor&, const Tensor&,
                                 const MaybeTensor&, const MaybeTensor&, const MaybeTensor&,
                                 std::string_view, bool);
template <class Outputs>
using LayerSignature = Outputs(const Tensor&, const Tensor&, const MaybeTensor&, const Tensor&,
                               const MaybeTensor&, const Tensor&, const MaybeTensor&,
                               const MaybeTensor&, const MaybeTensor&, std::string_view, bool);

// An output that a cell does not have is None in Python: nothing in these two, as AOTInductor demands
// of ops that stand in its programs, and an undefined tensor in the others.
struct Recurrence {
  static constexpr const char* kName = "fused_rnn::recurrence";
  using Inputs = ForwardInputs;
  using Outputs = std::tuple<Tensor, Tensor, MaybeTensor>;  // output, h_n, c_n
  using Signature = ForwardSignature<Outputs>;
};

// With what backward needs: cells, which is c at every step [steps, batch, hidden], and the tape
// [steps, batch, tape * hidden] (packed: [rows, ...]), both of the dtype that is computed in.
struct RecurrenceTrain {
  static constexpr const char* kName = "fused_rnn::recurrence_train";
  using Inputs = ForwardInputs;
  using Outputs = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
  using Signature = ForwardSignature<Outputs>;
};

// The two with the projection in their loop, so that no xg is ever stored.
struct Layer {
  static constexpr const char* kName = "fused_rnn::layer";
  using Inputs = LayerInputs;
  using Outputs = Recurrence::Outputs;
  using Signature = LayerSignature<Outputs>;
};

struct LayerTrain {
  static constexpr const char* kName = "fused_rnn::layer_train";
  using Inputs = LayerInputs;
  using Outputs = RecurrenceTrain::Outputs;
  using Signature = LayerSignature<Outputs>;
};

struct RecurrenceBackward {
  static constexpr const char* kName = "fused_rnn::recurrence_backward";
  using Inputs = BackwardInputs;
  // d_xg, d_h_0, d_c_0, d_weight_hh, d_bias_hh, d_weight_hr
  using Outputs = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;
  using Signature = Outputs(const MaybeTensor&, const MaybeTensor&, const MaybeTensor&,
                            const Tensor&, const MaybeTensor&, const MaybeTensor&, const Tensor&,
                            const MaybeTensor&, const Tensor&, const MaybeTensor&,
                            const MaybeTensor&, std::string_view, bool, std::array<bool, 4>,
                            const MaybeTensor&, const MaybeTensor&, const MaybeTensor&,
                            const MaybeTensor&);
};

struct RecurrenceDoubleBackward {
  static constexpr const char* kName = "fused_rnn::recurrence_double_backward";
  using Inputs = DoubleBackwardInputs;
  // d_grad_output, d_grad_h_n, d_grad_c_n, d_xg, d_h_0, d_c_0, d_weight_hh, d_bias_hh, d_weight_hr
  using Outputs =
      std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;
  using Signature = Outputs(const MaybeTensor&, const MaybeTensor&, const MaybeTensor&,
                            const MaybeTensor&, const MaybeTensor&, const MaybeTensor&,
                            const MaybeTensor&, const MaybeTensor&, const MaybeTensor&,
                            const Tensor&, const MaybeTensor&, const MaybeTensor&, const Tensor&,
                            const MaybeTensor&, const Tensor&, const MaybeTensor&,
                            const MaybeTensor&, const Tensor&, const MaybeTensor&,
                            const MaybeTensor&, const MaybeTensor&, std::string_view, bool,
                            std::array<bool, 4>);
};

struct Linear {
  static constexpr const char* kName = "fused_rnn::linear";
  using Inputs = LinearInputs;
  using Outputs = Tensor;
  using Signature = Outputs(const Tensor&, const Tensor&, const MaybeTensor&);
};

struct LinearBackward {
  static constexpr const char* kName = "fused_rnn::linear_backward";
  using Inputs = LinearBackwardInputs;
  using Outputs = std::tuple<Tensor, Tensor, Tensor>;  // d_input, d_weight, d_bias
  using Signature = Outputs(const Tensor&, const MaybeTensor&, const MaybeTensor&,
                            std::array<bool, 3>);
};

template <class Op>
const c10::TypedOperatorHandle<typename Op::Signature>& handle() {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow(Op::kName, "")
                             .template typed<typename Op::Signature>();
  return op;
}

template <class Op>
typename Op::Outputs call(const typename Op::Inputs& inputs) {
  return std::apply([](const auto&... args) { return handle<Op>().call(args...); }, inputs.all());
}

template <class Op>
typename Op::Outputs redispatch(c10::DispatchKeySet keys, const typename Op::Inputs& inputs) {
  return std::apply([&](const auto&... args) { return handle<Op>().redispatch(keys, args...); },
                    inputs.all());
}

// function(inputs), or function(keys, inputs), as the dispatcher wants to call it.
template <class Op, auto function, class Signature = typename Op::Signature>
struct Kernel;
template <class Op, auto function, class... Args>
struct Kernel<Op, function, typename Op::Outputs(Args...)> {
  static typename Op::Outputs call(Args... args) { return function(typename Op::Inputs{args...}); }
  static typename Op::Outputs call_with_keys(c10::DispatchKeySet keys, Args... args) {
    return function(keys, typename Op::Inputs{args...});
  }
};

}  // namespace fused_rnn
