// CPU kernels of the recurrence and of the layer, and the choice of the instruction set.
#include <ATen/Version.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linear.h>
#include <torch/library.h>

#include "torch/cpu.h"
#include "torch/outputs.h"
#include "torch/prepack.h"

namespace fused_rnn {
namespace {

// torch's choice, which obeys ATEN_CPU_CAPABILITY, at the time this library is loaded. A name that
// is none of these is of something newer than AVX-512.
const bool isa_chosen = [] {
  const std::string capability = at::get_cpu_capability();
  const cpu::Isa most = capability == "DEFAULT" || capability == "NO AVX" ? cpu::Isa::kGeneric
                        : capability == "AVX2"                            ? cpu::Isa::kAvx2
                                                                          : cpu::Isa::kAmx;
  for (cpu::Isa isa : cpu::available_isas()) {
    if (isa <= most) cpu::set_isa(isa);
  }
  return true;
}();

// Whether the rows of bfloat16 tensors can be read and written as pairs.
template <class Inputs>
bool are_pairs(const Sizes& sizes, const Inputs& in, std::initializer_list<MaybeTensor> others) {
  const auto starts_pair = [](const MaybeTensor& tensor) {
    if (!defined(tensor) || !tensor->is_contiguous()) return true;
    return reinterpret_cast<uintptr_t>(tensor->const_data_ptr()) % alignof(cpu::BFloat16Pair) == 0;
  };
  return cpu::kernels().bf16.forward && in.h_0.scalar_type() == at::kBFloat16 &&
         sizes.hidden.expect_int() % 2 == 0 && sizes.out.expect_int() % 2 == 0 &&
         starts_pair(in.h_0) && starts_pair(in.weight_hh) && starts_pair(in.weight_hr) &&
         std::all_of(others.begin(), others.end(), starts_pair);
}

// What forward and backward share.
struct Shared {
  Sizes sizes;
  at::ScalarType dtype, stored;  // computed in; of what is multiplied
  Tensor h_0, c_0, weight_hh, weight_hr;
  std::vector<Step> steps;

  template <class Inputs>
  Shared(const Sizes& s, const Tensor& like, const Inputs& in)
      : Shared(s, like, in, compute_dtype(like.scalar_type())) {}
  template <class Inputs>
  Shared(const Sizes& s, const Tensor& like, const Inputs& in, at::ScalarType stored)
      : sizes(s),
        dtype(compute_dtype(like.scalar_type())),
        stored(stored),
        h_0(dense(in.h_0, stored)),
        c_0(dense(in.c_0, dtype)),
        weight_hh(dense(in.weight_hh, stored)),
        weight_hr(dense(in.weight_hr, stored)),
        steps(checked_steps(s, in.batch_sizes, in.reverse)) {}

  static int64_t number(const c10::SymInt& size) { return size.expect_int(); }

  template <class T, class S = T>
  cpu::Problem<T, S> problem() const {
    return {steps.data(),
            static_cast<int64_t>(steps.size()),
            number(sizes.rows),
            number(sizes.batch),
            number(sizes.hidden),
            number(sizes.out) / cpu::kValues<S>,
            input<S>(h_0),
            input<T>(c_0),
            input<S>(weight_hh),
            input<S>(weight_hr),
            threads()};
  }

  int threads() const { return team(static_cast<double>(number(sizes.rows)) * weight_hh.numel()); }
};

// The tensors that a forward kernel fills, and its arguments.
struct Results {
  Tensor output, h_n, c_n, cells, tape;

  Results(const Shared& shared, bool train)
      : output(empty(shared.h_0, shared.sizes.with(shared.sizes.out))),
        h_n(empty(shared.h_0, shared.h_0.sym_sizes())) {
    const Sizes& sizes = shared.sizes;
    const auto of = [&](const c10::SymInt& width) {
      return empty(shared.dtype, sizes.with(width));
    };
    if (sizes.cell.has_c) c_n = empty(shared.dtype, shared.c_0.sym_sizes());
    if (train && sizes.cell.has_c) cells = of(sizes.hidden);
    if (train && sizes.cell.tape) tape = of(sizes.hidden * sizes.cell.tape);
  }

  template <class T, class S = T>
  cpu::Forward<T, S> arguments(const Shared& shared, const Tensor& bias_hh) const {
    cpu::Forward<T, S> args{};
    args.problem = shared.problem<T, S>();
    args.bias_hh = input<T>(bias_hh);
    args.output = result<S>(output);
    args.h_n = result<S>(h_n);
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
  const Tensor packed_hh = prepacked(in.weight_hh, shared.sizes.cell.gates);
  const Results results(shared, train);
  cpu::Forward<T> args = results.arguments<T>(shared, bias_hh);
  args.xg = input<T>(xg);
  args.packed_hh = input<T>(packed_hh);
  kernels<T>().forward(shared.sizes.row, args);
  return results.as(in.xg.scalar_type());
}

// Rows of x or weight_ih. Of pairs, an odd width gets a zero.
template <class S>
Tensor features(const Tensor& rows, const Shared& shared) {
  if (rows.size(-1) % cpu::kValues<S>) return at::constant_pad_nd(rows, {0, 1});
  return dense(rows, shared.stored);
}

template <class T, class S = T>
LayerTrain::Outputs run(const LayerInputs& in, const Shared& shared, bool train) {
  const Tensor x = features<S>(in.input, shared), weight_ih = features<S>(in.weight_ih, shared);
  const Tensor bias_ih = dense(in.bias_ih, shared.dtype), bias_hh = dense(in.bias_hh, shared.dtype);
  const Results results(shared, train);
  cpu::Forward<T, S> args = results.arguments<T, S>(shared, bias_hh);
  Tensor packed_ih, packed_hh;
  if constexpr (std::is_same_v<S, T>) {
    packed_ih = prepacked(in.weight_ih, shared.sizes.cell.gates);
    packed_hh = prepacked(in.weight_hh, shared.sizes.cell.gates);
    if (packed_ih.defined() && packed_hh.defined()) {
      args.packed_ih = input<T>(packed_ih);
      args.packed_hh = input<T>(packed_hh);
    }
  }
  args.input = input<S>(x);
  args.weight_ih = input<S>(weight_ih);
  args.bias_ih = input<T>(bias_ih);
  args.in = x.size(-1) / cpu::kValues<S>;
  kernels<T, S>().forward(shared.sizes.row, args);
  return results.as(in.input.scalar_type());
}

template <class Inputs>
RecurrenceTrain::Outputs forward(const Sizes& sizes, const Tensor& like, const Inputs& in,
                                 bool train) {
  const Shared shared(sizes, like, in);
  return shared.dtype == at::kDouble ? run<double>(in, shared, train)
                                     : run<float>(in, shared, train);
}

Recurrence::Outputs recurrence(const ForwardInputs& in) {
  return without_tape(forward(check(in), in.xg, in, /*train=*/false));
}

RecurrenceTrain::Outputs recurrence_train(const ForwardInputs& in) {
  return forward(check(in), in.xg, in, /*train=*/true);
}

// The projection goes into the loop where our product takes it.
LayerTrain::Outputs forward(const LayerInputs& in, bool train) {
  const Sizes sizes = check(in);
  if (takes(in.input, in.weight_ih, in.bias_ih)) return forward(sizes, in.input, in, train);
  if (are_pairs(sizes, in, {in.input, in.weight_ih})) {
    return run<float, cpu::BFloat16Pair>(in, {sizes, in.input, in, at::kBFloat16}, train);
  }
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const Tensor xg = at::linear(in.input, in.weight_ih, in.bias_ih);
  const ForwardInputs projected{xg,           in.h_0,         in.c_0,  in.weight_hh, in.bias_hh,
                                in.weight_hr, in.batch_sizes, in.cell, in.reverse};
  return forward(sizes, xg, projected, train);
}

Layer::Outputs layer(const LayerInputs& in) { return without_tape(forward(in, /*train=*/false)); }

LayerTrain::Outputs layer_train(const LayerInputs& in) { return forward(in, /*train=*/true); }

// Whether nobody else can ever read this tensor's memory, so that a kernel may write over it. Memory
// that is not torch's own, such as an array of NumPy's, cannot be resized.
bool held_here_alone(const MaybeTensor& tensor) {
  return defined(tensor) && tensor->use_count() == 1 && tensor->storage().use_count() == 1 &&
         tensor->storage().resizable();
}

template <class T, class S = T>
RecurrenceBackward::Outputs run(const BackwardInputs& in, const Shared& shared) {
  // Asked before there is a second name for it.
  const bool alone = std::is_same_v<S, T> && held_here_alone(in.tape);
  const auto computed = [&](const MaybeTensor& tensor) { return dense(tensor, shared.dtype); };
  const auto made = [&](const c10::SymIntArrayRef shape) { return empty(shared.dtype, shape); };
  const Tensor grad_output = dense(in.grad_output, shared.stored);
  const Tensor grad_h_n = computed(in.grad_h_n), grad_c_n = computed(in.grad_c_n);
  const Tensor output = dense(in.output, shared.stored);
  const Tensor cells = computed(in.cells), tape = computed(in.tape);
  const c10::SymInt gates = in.weight_hh.sym_size(0);
  const CellInfo& cell = shared.sizes.cell;
  const Tensor own_tape = alone ? tape : Tensor();
  const bool on_tape = own_tape.defined() && cell.same_gates && cell.tape == cell.gates;
  const Tensor d_xg = on_tape ? own_tape.detach() : empty(output, shared.sizes.with(gates));
  Tensor d_h_0, d_c_0, d_weight_hh, d_bias_hh, d_weight_hr;
  const auto [want_h_0, want_weight_hh, want_bias_hh, want_weight_hr] = in.output_mask;
  if (want_h_0) d_h_0 = made(in.h_0.sym_sizes());
  if (cell.has_c) d_c_0 = made(in.c_0->sym_sizes());
  if (want_weight_hh) d_weight_hh = made(in.weight_hh.sym_sizes());
  if (want_bias_hh) d_bias_hh = made({gates});
  if (want_weight_hr && defined(in.weight_hr)) {
    d_weight_hr = made(in.weight_hr->sym_sizes());
  }
  kernels<T, S>().backward(
      shared.sizes.row, {shared.problem<T, S>(), input<S>(grad_output), input<T>(grad_h_n),
                         input<T>(grad_c_n), input<S>(output), input<T>(cells), input<T>(tape),
                         result<T>(own_tape), result<S>(d_xg), result<T>(d_h_0), result<T>(d_c_0),
                         result<T>(d_weight_hh), result<T>(d_bias_hh), result<T>(d_weight_hr)});
  const auto dtype = in.output.scalar_type();
  return {stored(d_xg, dtype),        stored(d_h_0, dtype),     stored(d_c_0, dtype),
          stored(d_weight_hh, dtype), stored(d_bias_hh, dtype), stored(d_weight_hr, dtype)};
}

RecurrenceBackward::Outputs recurrence_backward(const BackwardInputs& in) {
  const Sizes sizes = check(in);
  if (are_pairs(sizes, in, {in.grad_output, in.output})) {
    return run<float, cpu::BFloat16Pair>(in, {sizes, in.output, in, at::kBFloat16});
  }
  const Shared shared(sizes, in.output, in);
  return shared.dtype == at::kDouble ? run<double>(in, shared) : run<float>(in, shared);
}

template <class T>
RecurrenceDoubleBackward::Outputs run(const DoubleBackwardInputs& in, const Shared& shared) {
  const auto in_dtype = [&](const MaybeTensor& tensor) { return dense(tensor, shared.dtype); };
  const auto like = [&](const MaybeTensor& tensor) {
    return defined(tensor) ? empty(shared.h_0, tensor->sym_sizes()) : Tensor();
  };
  const Tensor output = dense(in.output, shared.dtype);
  const Tensor cells = in_dtype(in.cells), tape = in_dtype(in.tape);
  const Tensor grads[] = {in_dtype(in.grad_output), in_dtype(in.grad_h_n), in_dtype(in.grad_c_n)};
  const Tensor along[] = {in_dtype(in.along_xg),      in_dtype(in.along_h_0),
                          in_dtype(in.along_c_0),     in_dtype(in.along_weight_hh),
                          in_dtype(in.along_bias_hh), in_dtype(in.along_weight_hr)};
  const Tensor d_output = empty(shared.h_0, shared.sizes.with(shared.sizes.out));
  const Tensor d_h_n = like(in.h_0), d_c_n = like(in.c_0);
  const Tensor d_xg = empty(shared.h_0, shared.sizes.with(in.weight_hh.sym_size(0)));
  const Tensor d_h_0 = like(in.h_0), d_c_0 = like(in.c_0);
  const auto [want_h_0, want_weight_hh, want_bias_hh, want_weight_hr] = in.output_mask;
  const Tensor d_weight_hh = want_weight_hh ? like(in.weight_hh) : Tensor();
  const Tensor d_bias_hh = want_bias_hh ? like(in.bias_hh) : Tensor();
  const Tensor d_weight_hr = want_weight_hr ? like(in.weight_hr) : Tensor();
  kernels<T>().second(
      shared.sizes.row,
      {shared.problem<T>(),  input<T>(output),      input<T>(cells),    input<T>(tape),
       input<T>(grads[0]),   input<T>(grads[1]),    input<T>(grads[2]), input<T>(along[0]),
       input<T>(along[1]),   input<T>(along[2]),    input<T>(along[3]), input<T>(along[4]),
       input<T>(along[5]),   result<T>(d_output),   result<T>(d_h_n),   result<T>(d_c_n),
       result<T>(d_xg),      result<T>(d_h_0),      result<T>(d_c_0),   result<T>(d_weight_hh),
       result<T>(d_bias_hh), result<T>(d_weight_hr)});
  const auto as = [&](const Tensor& tensor) { return stored(tensor, in.input.scalar_type()); };
  return {
      as(d_output), as(d_h_n),       as(d_c_n),     as(d_xg),       want_h_0 ? as(d_h_0) : Tensor(),
      as(d_c_0),    as(d_weight_hh), as(d_bias_hh), as(d_weight_hr)};
}

RecurrenceDoubleBackward::Outputs recurrence_double_backward(const DoubleBackwardInputs& in) {
  const Shared shared(check(in), in.input, in);
  return shared.dtype == at::kDouble ? run<double>(in, shared) : run<float>(in, shared);
}

}  // namespace

TORCH_LIBRARY_IMPL(fused_rnn, CPU, m) {
  m.impl("recurrence", Kernel<Recurrence, recurrence>::call);
  m.impl("layer", Kernel<Layer, layer>::call);
  m.impl("layer_train", Kernel<LayerTrain, layer_train>::call);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, recurrence_train>::call);
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call);
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, recurrence_double_backward>::call);
}

}  // namespace fused_rnn
