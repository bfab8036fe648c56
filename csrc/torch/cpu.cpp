// CPU kernels of the ops: tensors in, the plain structs of cpu/kernels.h out. float16 and bfloat16
// are converted at this border and computed in float32.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>

#include "cpu/kernels.h"
#include "torch/check.h"
#include "torch/compositions.h"

namespace fused_rnn {
namespace {

// torch's choice, which obeys ATEN_CPU_CAPABILITY, at the time this library is loaded.
const bool isa_chosen = [] {
  const std::string capability = at::get_cpu_capability();
  for (cpu::Isa isa : cpu::available_isas()) {
    if ((isa == cpu::Isa::kAvx512 && capability == "AVX512") ||
        (isa == cpu::Isa::kAvx2 && capability == "AVX2")) {
      cpu::set_isa(isa);
    }
  }
  return true;
}();

// The tensor as a kernel takes it. A call of ATen that changes nothing still costs its dispatch.
Tensor dense(const Tensor& tensor, at::ScalarType dtype) {
  if (tensor.scalar_type() == dtype && tensor.is_contiguous()) return tensor;
  return tensor.to(dtype).contiguous();
}
Tensor dense(const MaybeTensor& tensor, at::ScalarType dtype) {
  return defined(tensor) ? dense(*tensor, dtype) : Tensor();
}

// A result as it is given away.
Tensor stored(const Tensor& tensor, at::ScalarType dtype) {
  return tensor.defined() && tensor.scalar_type() != dtype ? tensor.to(dtype) : tensor;
}

template <class T>
const T* input(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}
template <class T>
T* result(const Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<T>() : nullptr;
}

Tensor empty(const Tensor& like, c10::SymIntArrayRef shape) {
  return at::empty_symint(shape, like.options());
}

template <class T>
const cpu::Kernels<T>& kernels() {
  if constexpr (std::is_same_v<T, double>) {
    return cpu::kernels().f64;
  } else {
    return cpu::kernels().f32;
  }
}

// Threads for `shares` parts and so many multiplications: for few, a team costs more than it saves.
int team(int64_t shares, double multiplications) {
  constexpr double kWorthATeam = 200'000;
  if (multiplications < kWorthATeam || at::in_parallel_region()) return 1;
  return static_cast<int>(std::clamp<int64_t>(shares, 1, at::get_num_threads()));
}

// Where our kernel is the faster one; ATen has the rest, and raises all errors.
bool is_ours(const Tensor& input, const Tensor& weight, std::initializer_list<Tensor> others) {
  constexpr int64_t kManyRows = 48;
  const auto dtype = input.scalar_type();
  const auto fits = [&](const Tensor& tensor) {
    return !tensor.defined() ||
           (tensor.scalar_type() == dtype && tensor.is_cpu() && tensor.layout() == at::kStrided);
  };
  return (dtype == at::kFloat || dtype == at::kDouble) && fits(input) && fits(weight) &&
         std::all_of(others.begin(), others.end(), fits) && input.dim() >= 2 && weight.dim() == 2 &&
         weight.numel() > 0 && input.size(-1) == weight.size(1) &&
         input.numel() >= kManyRows * weight.size(1);
}

// What forward and backward share, in the dtype that is computed in.
struct Shared {
  Sizes sizes;
  at::ScalarType dtype;  // computed in
  Tensor h_0, c_0, weight_hh, weight_hr;
  std::vector<cpu::Step> steps;

  template <class Inputs>
  Shared(const Sizes& s, const Tensor& like, const Inputs& in)
      : sizes(s),
        dtype(compute_dtype(like.scalar_type())),
        h_0(dense(in.h_0, dtype)),
        c_0(dense(in.c_0, dtype)),
        weight_hh(dense(in.weight_hh, dtype)),
        weight_hr(dense(in.weight_hr, dtype)) {
    const int64_t batch = number(s.batch), rows = number(s.rows);
    if (s.packed) {
      const Tensor counts = in.batch_sizes->contiguous();
      check_batch_sizes(counts, batch, rows);
      steps = cpu::packed_steps(counts.const_data_ptr<int64_t>(), counts.size(0), in.reverse);
    } else {
      steps = cpu::dense_steps(number(s.leading[0]), batch, in.reverse);
    }
  }

  static int64_t number(const c10::SymInt& size) { return size.expect_int(); }

  template <class T>
  cpu::Problem<T> problem() const {
    return {steps.data(),
            static_cast<int64_t>(steps.size()),
            number(sizes.rows),
            number(sizes.batch),
            number(sizes.hidden),
            number(sizes.out),
            input<T>(h_0),
            input<T>(c_0),
            input<T>(weight_hh),
            input<T>(weight_hr),
            threads()};
  }

  // A thread takes sequences.
  int threads() const {
    const double work = static_cast<double>(number(sizes.rows)) * weight_hh.numel();
    return team(number(sizes.batch), work);
  }
};

// The tensors that a forward kernel fills, and its arguments.
struct Results {
  Tensor output, h_n, c_n, cells, tape;

  Results(const Sizes& sizes, const Tensor& h_0, const Tensor& c_0, bool train)
      : output(empty(h_0, sizes.with(sizes.out))), h_n(empty(h_0, h_0.sym_sizes())) {
    if (sizes.cell.has_c) c_n = empty(h_0, c_0.sym_sizes());
    if (train && sizes.cell.has_c) cells = empty(h_0, sizes.with(sizes.hidden));
    if (train && sizes.cell.tape) tape = empty(h_0, sizes.with(sizes.hidden * sizes.cell.tape));
  }

  template <class T>
  cpu::Forward<T> arguments(const Shared& shared, const Tensor& bias_hh) const {
    cpu::Forward<T> args{};
    args.problem = shared.problem<T>();
    args.bias_hh = input<T>(bias_hh);
    args.output = result<T>(output);
    args.h_n = result<T>(h_n);
    args.c_n = result<T>(c_n);
    args.cells = result<T>(cells);
    args.tape = result<T>(tape);
    return args;
  }

  RecurrenceTrain::Outputs as(at::ScalarType dtype) const {
    return {stored(output, dtype), stored(h_n, dtype), stored(c_n, dtype), cells, tape};
  }
};

template <class T>
RecurrenceTrain::Outputs run(const ForwardInputs& in, const Shared& shared, bool train) {
  const Tensor xg = dense(in.xg, shared.dtype), bias_hh = dense(in.bias_hh, shared.dtype);
  const Results results(shared.sizes, shared.h_0, shared.c_0, train);
  cpu::Forward<T> args = results.arguments<T>(shared, bias_hh);
  args.xg = input<T>(xg);
  kernels<T>().forward(shared.sizes.row, args);
  return results.as(in.xg.scalar_type());
}

template <class T>
LayerTrain::Outputs run(const LayerInputs& in, const Shared& shared, bool train) {
  const Tensor x = dense(in.input, shared.dtype), weight_ih = dense(in.weight_ih, shared.dtype);
  const Tensor bias_ih = dense(in.bias_ih, shared.dtype), bias_hh = dense(in.bias_hh, shared.dtype);
  const Results results(shared.sizes, shared.h_0, shared.c_0, train);
  cpu::Forward<T> args = results.arguments<T>(shared, bias_hh);
  args.input = input<T>(x);
  args.weight_ih = input<T>(weight_ih);
  args.bias_ih = input<T>(bias_ih);
  args.in = x.size(-1);
  kernels<T>().forward(shared.sizes.row, args);
  return results.as(in.input.scalar_type());
}

template <class Inputs>
RecurrenceTrain::Outputs forward(const Sizes& sizes, const Tensor& like, const Inputs& in,
                                 bool train) {
  const Shared shared(sizes, like, in);
  return shared.dtype == at::kDouble ? run<double>(in, shared, train)
                                     : run<float>(in, shared, train);
}

Recurrence::Outputs without_tape(const RecurrenceTrain::Outputs& outputs) {
  return {std::get<0>(outputs), std::get<1>(outputs), std::get<2>(outputs)};
}

Recurrence::Outputs recurrence(const ForwardInputs& in) {
  return without_tape(forward(check(in), in.xg, in, /*train=*/false));
}

RecurrenceTrain::Outputs recurrence_train(const ForwardInputs& in) {
  return forward(check(in), in.xg, in, /*train=*/true);
}

// The projection goes into the loop where our product is the faster one.
Layer::Outputs layer(const LayerInputs& in) {
  const Sizes sizes = check(in);
  if (!is_ours(in.input, in.weight_ih, {})) return layer_of_two(in);
  return without_tape(forward(sizes, in.input, in, /*train=*/false));
}

LayerTrain::Outputs layer_train(const LayerInputs& in) {
  const Sizes sizes = check(in);
  if (!is_ours(in.input, in.weight_ih, {})) return two_ops<LayerTrain, RecurrenceTrain>(in);
  return forward(sizes, in.input, in, /*train=*/true);
}

template <class T>
RecurrenceBackward::Outputs run(const BackwardInputs& in, const Shared& shared) {
  const auto dense_grad = [&](const MaybeTensor& grad) { return dense(grad, shared.dtype); };
  const Tensor grad_output = dense_grad(in.grad_output), grad_h_n = dense_grad(in.grad_h_n);
  const Tensor grad_c_n = dense_grad(in.grad_c_n), output = dense(in.output, shared.dtype);
  const Tensor cells = dense_grad(in.cells), tape = dense_grad(in.tape);
  const c10::SymInt gates = in.weight_hh.sym_size(0);
  const Tensor d_xg = empty(output, shared.sizes.with(gates)),
               d_h_0 = empty(output, in.h_0.sym_sizes());
  Tensor d_c_0, d_weight_hh, d_bias_hh, d_weight_hr;
  if (shared.sizes.cell.has_c) d_c_0 = empty(output, in.c_0->sym_sizes());
  if (in.output_mask[0]) d_weight_hh = empty(output, in.weight_hh.sym_sizes());
  if (in.output_mask[1]) d_bias_hh = empty(output, {gates});
  if (in.output_mask[2] && defined(in.weight_hr))
    d_weight_hr = empty(output, in.weight_hr->sym_sizes());
  kernels<T>().backward(
      shared.sizes.row,
      {shared.problem<T>(), input<T>(grad_output), input<T>(grad_h_n), input<T>(grad_c_n),
       input<T>(output), input<T>(cells), input<T>(tape), result<T>(d_xg), result<T>(d_h_0),
       result<T>(d_c_0), result<T>(d_weight_hh), result<T>(d_bias_hh), result<T>(d_weight_hr)});
  const auto dtype = in.output.scalar_type();
  return {stored(d_xg, dtype),        stored(d_h_0, dtype),     stored(d_c_0, dtype),
          stored(d_weight_hh, dtype), stored(d_bias_hh, dtype), stored(d_weight_hr, dtype)};
}

RecurrenceBackward::Outputs recurrence_backward(const BackwardInputs& in) {
  const Shared shared(check(in), in.output, in);
  return shared.dtype == at::kDouble ? run<double>(in, shared) : run<float>(in, shared);
}

template <class T>
Tensor run_linear(const LinearInputs& in) {
  const Tensor x = in.input.contiguous(), weight = in.weight.contiguous();
  const Tensor bias = defined(in.bias) ? in.bias->contiguous() : Tensor();
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  const Tensor output = at::empty(shape, x.options());
  const int64_t rows = x.numel() / weight.size(1);
  kernels<T>().linear({rows, weight.size(1), weight.size(0), input<T>(x), input<T>(weight),
                       input<T>(bias), result<T>(output),
                       team(rows, static_cast<double>(rows) * weight.numel())});
  return output;
}

template <class T>
LinearBackward::Outputs run_linear(const LinearBackwardInputs& in) {
  const Tensor grad = in.grad_output.contiguous(), x = in.input.contiguous();
  const Tensor weight = in.weight.contiguous();
  const int64_t rows = x.numel() / weight.size(1);
  Tensor d_input, d_weight, d_bias;
  if (in.output_mask[0]) d_input = at::empty(x.sizes(), x.options());
  if (in.output_mask[1]) d_weight = at::empty(weight.sizes(), x.options());
  if (in.output_mask[2]) d_bias = at::empty({weight.size(0)}, x.options());
  kernels<T>().linear_backward({rows, weight.size(1), weight.size(0), input<T>(grad), input<T>(x),
                                input<T>(weight), result<T>(d_input), result<T>(d_weight),
                                result<T>(d_bias),
                                team(rows, static_cast<double>(rows) * weight.numel())});
  return {d_input, d_weight, d_bias};
}

Tensor linear(const LinearInputs& in) {
  const Tensor bias = in.bias.value_or(Tensor());
  const bool fits = !bias.defined() || (bias.dim() == 1 && bias.size(0) == in.weight.size(0));
  if (!fits || !is_ours(in.input, in.weight, {bias})) return aten_linear(in);
  return in.input.scalar_type() == at::kDouble ? run_linear<double>(in) : run_linear<float>(in);
}

LinearBackward::Outputs linear_backward(const LinearBackwardInputs& in) {
  const Tensor& grad = in.grad_output;
  if (!is_ours(in.input, in.weight, {grad}) || grad.dim() != in.input.dim() ||
      grad.sizes().slice(0, grad.dim() - 1) != in.input.sizes().slice(0, grad.dim() - 1) ||
      grad.size(-1) != in.weight.size(0)) {
    return aten_linear_backward(in);
  }
  return in.input.scalar_type() == at::kDouble ? run_linear<double>(in) : run_linear<float>(in);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, CPU, m) {
  m.impl("linear", Kernel<Linear, linear>::call);
  m.impl("linear_backward", Kernel<LinearBackward, linear_backward>::call);
  m.impl("recurrence", Kernel<Recurrence, recurrence>::call);
  m.impl("layer", Kernel<Layer, layer>::call);
  m.impl("layer_train", Kernel<LayerTrain, layer_train>::call);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, recurrence_train>::call);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call);
}

}  // namespace fused_rnn
