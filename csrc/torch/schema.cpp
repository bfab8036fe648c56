// Every op's signature, and nowhere else. A result that a cell does not have, or that is not wanted,
// is None in Python.
#include <torch/library.h>

TORCH_LIBRARY(fused_rnn, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag};
  m.def("linear(Tensor input, Tensor weight, Tensor? bias) -> Tensor", tags);
  m.def(
      "linear_backward(Tensor grad_output, Tensor? input, Tensor? weight, bool[3] output_mask) -> "
      "(Tensor d_input, Tensor d_weight, Tensor d_bias)",
      tags);
  m.def(
      "recurrence(Tensor xg, Tensor h_0, Tensor? c_0, Tensor weight_hh, Tensor? bias_hh, Tensor? "
      "weight_hr, "
      "Tensor? batch_sizes, str cell, bool reverse) -> (Tensor output, Tensor h_n, Tensor? c_n)",
      tags);
  m.def(
      "layer(Tensor input, Tensor weight_ih, Tensor? bias_ih, Tensor h_0, Tensor? c_0, "
      "Tensor weight_hh, Tensor? bias_hh, Tensor? weight_hr, Tensor? batch_sizes, str cell, "
      "bool reverse) -> (Tensor output, Tensor h_n, Tensor? c_n)",
      tags);
  m.def(
      "layer_train(Tensor input, Tensor weight_ih, Tensor? bias_ih, Tensor h_0, Tensor? c_0, "
      "Tensor weight_hh, Tensor? bias_hh, Tensor? weight_hr, Tensor? batch_sizes, str cell, "
      "bool reverse) -> "
      "(Tensor output, Tensor h_n, Tensor c_n, Tensor cells, Tensor tape)",
      tags);
  m.def(
      "recurrence_train(Tensor xg, Tensor h_0, Tensor? c_0, Tensor weight_hh, Tensor? bias_hh, "
      "Tensor? weight_hr, "
      "Tensor? batch_sizes, str cell, bool reverse) -> "
      "(Tensor output, Tensor h_n, Tensor c_n, Tensor cells, Tensor tape)",
      tags);
  m.def(
      "recurrence_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor? grad_c_n, Tensor output, "
      "Tensor? cells, "
      "Tensor? tape, Tensor h_0, Tensor? c_0, Tensor weight_hh, Tensor? weight_hr, Tensor? "
      "batch_sizes, str cell, "
      "bool reverse, bool[4] output_mask, Tensor? input=None, Tensor? weight_ih=None, "
      "Tensor? bias_ih=None, Tensor? bias_hh=None) -> "
      "(Tensor d_xg, Tensor d_h_0, Tensor d_c_0, Tensor d_weight_hh, Tensor d_bias_hh, Tensor "
      "d_weight_hr)",
      tags);
  m.def(
      "recurrence_double_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor? grad_c_n, "
      "Tensor? along_xg, Tensor? along_h_0, Tensor? along_c_0, Tensor? along_weight_hh, "
      "Tensor? along_bias_hh, Tensor? along_weight_hr, Tensor input, Tensor? weight_ih, "
      "Tensor? bias_ih, Tensor h_0, Tensor? c_0, Tensor weight_hh, Tensor? bias_hh, "
      "Tensor? weight_hr, Tensor output, Tensor? cells, Tensor? tape, Tensor? batch_sizes, "
      "str cell, bool reverse, bool[4] output_mask) -> "
      "(Tensor d_grad_output, Tensor d_grad_h_n, Tensor d_grad_c_n, Tensor d_xg, Tensor d_h_0, "
      "Tensor d_c_0, Tensor d_weight_hh, Tensor d_bias_hh, Tensor d_weight_hr)",
      tags);
}
