// CPU kernels of the linear layer.
#include <torch/library.h>

#include "torch/cpu.h"

namespace fused_rnn {
namespace {

// Forward and alone, our product is the faster one from so many rows on.
constexpr int64_t kManyRows = 48;

bool has_kernel(at::ScalarType dtype) { return dtype == at::kFloat || dtype == at::kDouble; }

bool fits(const MaybeTensor& tensor, at::ScalarType dtype) {
  return defined(tensor) && tensor->scalar_type() == dtype && tensor->is_cpu() &&
         tensor->layout() == at::kStrided && tensor->dim() > 0;
}

}  // namespace

bool takes(const Tensor& input, const Tensor& weight, const MaybeTensor& bias) {
  const auto dtype = input.scalar_type();
  return has_kernel(dtype) && fits(input, dtype) && fits(weight, dtype) && weight.dim() == 2 &&
         weight.numel() > 0 && input.dim() >= 2 && input.size(-1) == weight.size(1) &&
         (!defined(bias) ||
          (fits(bias, dtype) && bias->dim() == 1 && bias->size(0) == weight.size(0)));
}

namespace {

bool takes_gradient(const LinearBackwardInputs& in) {
  const Tensor& grad = in.grad_output;
  const auto dtype = grad.scalar_type();
  if (!has_kernel(dtype) || !fits(grad, dtype) || grad.dim() < 2) return false;
  const auto [want_input, want_weight, want_bias] = in.output_mask;
  if (want_input && !(fits(in.weight, dtype) && in.weight->dim() == 2 && in.weight->numel() > 0 &&
                      in.weight->size(0) == grad.size(-1))) {
    return false;
  }
  const auto leading = [](const Tensor& t) { return t.sizes().slice(0, t.dim() - 1); };
  if (want_weight &&
      !(fits(in.input, dtype) && leading(*in.input) == leading(grad) && in.input->size(-1) > 0)) {
    return false;
  }
  if (want_input && want_weight && in.input->size(-1) != in.weight->size(1)) return false;
  return grad.numel() > 0;
}

template <class T>
Tensor run_linear(const LinearInputs& in) {
  const Tensor x = in.input.contiguous(), weight = in.weight.contiguous();
  const Tensor bias = defined(in.bias) ? in.bias->contiguous() : Tensor();
  c10::SymDimVector shape(x.sym_sizes());
  shape.back() = weight.size(0);
  const Tensor output = empty(x, shape);
  const int64_t rows = x.numel() / weight.size(1);
  kernels<T>().linear({rows, weight.size(1), weight.size(0), input<T>(x), input<T>(weight),
                       input<T>(bias), result<T>(output),
                       team(static_cast<double>(rows) * weight.numel())});
  return output;
}

template <class T>
LinearBackward::Outputs run_linear(const LinearBackwardInputs& in) {
  const auto [want_input, want_weight, want_bias] = in.output_mask;
  const auto dtype = in.grad_output.scalar_type();
  const Tensor grad = dense(in.grad_output, dtype);
  const Tensor x = want_weight ? dense(*in.input, dtype) : Tensor();
  const Tensor weight = want_input ? dense(*in.weight, dtype) : Tensor();
  const int64_t out = grad.size(-1), rows = grad.numel() / out;
  const int64_t width = want_input ? weight.size(1) : want_weight ? x.size(-1) : 0;
  Tensor d_input, d_weight, d_bias;
  if (want_input) {
    c10::SymDimVector shape(grad.sym_sizes());
    shape.back() = width;
    d_input = empty(grad, shape);
  }
  if (want_weight) d_weight = empty(grad, {out, width});
  if (want_bias) d_bias = empty(grad, {out});
  kernels<T>().linear_backward({rows, width, out, input<T>(grad), input<T>(x), input<T>(weight),
                                result<T>(d_input), result<T>(d_weight), result<T>(d_bias),
                                team(static_cast<double>(rows) * width * out)});
  return {d_input, d_weight, d_bias};
}

Tensor linear(const LinearInputs& in) {
  if (!takes(in.input, in.weight, in.bias) || in.input.numel() < kManyRows * in.weight.size(1)) {
    return aten_linear(in);
  }
  return in.input.scalar_type() == at::kDouble ? run_linear<double>(in) : run_linear<float>(in);
}

LinearBackward::Outputs linear_backward(const LinearBackwardInputs& in) {
  if (!takes_gradient(in)) return aten_linear_backward(in);
  return in.grad_output.scalar_type() == at::kDouble ? run_linear<double>(in)
                                                     : run_linear<float>(in);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, CPU, m) {
  m.impl("linear", Kernel<Linear, linear>::call);
  m.impl("linear_backward", Kernel<LinearBackward, linear_backward>::call);
}

}  // namespace fused_rnn
