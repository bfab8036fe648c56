// The family of ops, one schema for all cells: what an op gets and gives, and how one op calls another.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <array>
#include <optional>
#include <string_view>
#include <tuple>

namespace fused_rnn {

using at::Tensor;
using MaybeTensor = std::optional<Tensor>;

// The inputs of recurrence and recurrence_train, in the order of their schema.
struct ForwardInputs {
  const Tensor& xg;                               // [steps, batch, gates * hidden], packed: [rows, ...]
  const Tensor& h_0;                              // [batch, out]
  const MaybeTensor& c_0;                         // [batch, hidden]
  const Tensor& weight_hh;                        // [gates * hidden, out]
  const MaybeTensor& bias_hh;                     // [gates * hidden]
  const MaybeTensor& weight_hr;                   // [out, hidden]
  const MaybeTensor& batch_sizes;                 // [steps] int64 on the CPU
  std::string_view cell;
  bool reverse;
};

// The inputs of recurrence_backward.
struct BackwardInputs {
  const MaybeTensor &grad_output, &grad_h_n, &grad_c_n;
  const Tensor& output;
  const MaybeTensor &cells, &tape;                // as recurrence_train gave them
  const Tensor& h_0;
  const MaybeTensor& c_0;
  const Tensor& weight_hh;
  const MaybeTensor &weight_hr, &batch_sizes;
  std::string_view cell;
  bool reverse;
  std::array<bool, 3> output_mask;                // whether d_weight_hh, d_bias_hh, d_weight_hr are wanted
};

// output, h_n, c_n; an output that a cell does not have is undefined (None in Python).
using Recurrence = std::tuple<Tensor, Tensor, Tensor>;
// output, h_n, c_n, cells, tape: what backward needs beside the inputs. Tape and cells have the dtype
// that is computed in: [steps, batch, hidden] and [steps, batch, tape * hidden], packed: [rows, ...].
using RecurrenceTrain = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
// d_xg, d_h_0, d_c_0, d_weight_hh, d_bias_hh, d_weight_hr
using RecurrenceBackward = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

using ForwardSignature = Recurrence(const Tensor&, const Tensor&, const MaybeTensor&, const Tensor&,
                                    const MaybeTensor&, const MaybeTensor&, const MaybeTensor&, std::string_view, bool);
using TrainSignature = RecurrenceTrain(const Tensor&, const Tensor&, const MaybeTensor&, const Tensor&,
                                       const MaybeTensor&, const MaybeTensor&, const MaybeTensor&, std::string_view,
                                       bool);
using BackwardSignature = RecurrenceBackward(const MaybeTensor&, const MaybeTensor&, const MaybeTensor&, const Tensor&,
                                             const MaybeTensor&, const MaybeTensor&, const Tensor&, const MaybeTensor&,
                                             const Tensor&, const MaybeTensor&, const MaybeTensor&, std::string_view,
                                             bool, std::array<bool, 3>);

template <class Signature>
c10::TypedOperatorHandle<Signature> find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}
inline const auto& recurrence_op() {
  static const auto op = find_op<ForwardSignature>("fused_rnn::recurrence");
  return op;
}
inline const auto& recurrence_train_op() {
  static const auto op = find_op<TrainSignature>("fused_rnn::recurrence_train");
  return op;
}
inline const auto& recurrence_backward_op() {
  static const auto op = find_op<BackwardSignature>("fused_rnn::recurrence_backward");
  return op;
}

inline bool defined(const MaybeTensor& tensor) { return tensor && tensor->defined(); }

}  // namespace fused_rnn
