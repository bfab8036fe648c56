#include "torch/unrolled.h"

#include "torch/check.h"
#include "torch/outputs.h"
#include "torch/unrolled_steps.h"

namespace fused_rnn {
namespace {

// What all entries share: arguments are computed with in the dtype of the kernels, in rows.
class Problem {
 public:
  Problem(const Sizes& sizes, const Tensor& like, const MaybeTensor& batch_sizes, bool reverse)
      : sizes_(sizes),
        stored_(like.scalar_type()),
        computed_(compute_dtype(stored_)),
        like_(like),
        steps_(checked_steps(sizes, batch_sizes, reverse)),
        hidden_(sizes.hidden.guard_int(__FILE__, __LINE__)) {}

  Array in(const MaybeTensor& tensor) const {
    return {defined(tensor) ? tensor->to(computed_) : Tensor()};
  }
  Array in_rows(const MaybeTensor& tensor) const {
    return map(in(tensor),
               [&](const Tensor& t) { return t.reshape_symint({sizes_.rows, t.sym_size(-1)}); });
  }
  Arguments<Array> in(const ForwardInputs& given) const {
    return {in_rows(given.xg),   in(given.h_0),     in(given.c_0),
            in(given.weight_hh), in(given.bias_hh), in(given.weight_hr)};
  }

  Tensor out(const Array& array, c10::SymIntArrayRef shape) const {
    return result(array, shape).to(stored_);
  }
  Tensor out_rows(const Array& array, const c10::SymInt& width) const {
    return out(array, sizes_.with(width));
  }
  // cells and tape stay in the dtype that is computed in, and have no derivative.
  Tensor kept(const Array& array, const c10::SymInt& width) const {
    return result(array, sizes_.with(width)).detach();
  }

  // Calls f with a recurrence of the cell over the arguments.
  template <class V, class F>
  void with(const Arguments<V>& arguments, F f) const {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    Cells::visit(sizes_.row,
                 [&](auto cell) { f(Unrolled<decltype(cell), V>(arguments, steps_, hidden_)); });
  }

 private:
  Tensor result(const Array& array, c10::SymIntArrayRef shape) const {
    if (array.defined()) return array.tensor.reshape_symint(shape);
    return at::zeros_symint(shape, like_.options().dtype(computed_));
  }

  const Sizes& sizes_;
  const at::ScalarType stored_, computed_;
  const Tensor& like_;
  const std::vector<Step> steps_;
  const int64_t hidden_;
};

ForwardInputs forward_inputs(const BackwardInputs& in, const Tensor& xg) {
  return {xg,           in.h_0,         in.c_0,  in.weight_hh, in.bias_hh,
          in.weight_hr, in.batch_sizes, in.cell, in.reverse};
}

RecurrenceTrain::Outputs forward(const ForwardInputs& in, bool train) {
  const Sizes sizes = check(in);
  const Problem problem(sizes, in.xg, in.batch_sizes, in.reverse);
  const Arguments<Array> arguments = problem.in(in);
  const CellInfo& cell = sizes.cell;
  RecurrenceTrain::Outputs outputs;
  problem.with(arguments, [&](auto recurrence) {
    recurrence.forward();
    Tensor c_n, cells, tape;
    if (cell.has_c) c_n = problem.out(recurrence.c_n(), in.c_0->sym_sizes());
    if (train && cell.has_c) cells = problem.kept(recurrence.cells(), sizes.hidden);
    if (train && cell.tape) tape = problem.kept(recurrence.tape(), sizes.hidden * cell.tape);
    outputs = {problem.out_rows(recurrence.output(), sizes.out),
               problem.out(recurrence.h_n(), in.h_0.sym_sizes()), c_n, cells, tape};
  });
  return outputs;
}

}  // namespace

Recurrence::Outputs unrolled(const ForwardInputs& in) {
  return without_tape(forward(in, /*train=*/false));
}

RecurrenceTrain::Outputs unrolled_train(const ForwardInputs& in) {
  return forward(in, /*train=*/true);
}

void check_origin(const MaybeTensor& input) {
  TORCH_CHECK(defined(input),
              "input: expected what output was made from, since a derivative of "
              "recurrence_backward is wanted, but got None");
}

Tensor xg_of(const MaybeTensor& input, const MaybeTensor& weight_ih, const MaybeTensor& bias_ih) {
  check_origin(input);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return defined(weight_ih) ? call<Linear>({*input, *weight_ih, bias_ih}) : *input;
}

RecurrenceBackward::Outputs unrolled_backward(const BackwardInputs& in) {
  check(in);
  const Tensor xg = xg_of(in.input, in.weight_ih, in.bias_ih);
  const ForwardInputs at = forward_inputs(in, xg);
  const Sizes sizes = check(at);
  const Problem problem(sizes, xg, in.batch_sizes, in.reverse);
  const Arguments<Array> arguments = problem.in(at);
  const auto [h_0, weight_hh, bias_hh, weight_hr] = in.output_mask;
  const c10::SymInt gates = in.weight_hh.sym_size(0);
  RecurrenceBackward::Outputs outputs;
  problem.with(arguments, [&](auto recurrence) {
    recurrence.forward();
    const Arguments<Array> d = recurrence.backward(
        problem.in_rows(in.grad_output), {problem.in(in.grad_h_n), problem.in(in.grad_c_n)});
    outputs = {problem.out_rows(d.xg, gates),
               h_0 ? problem.out(d.h_0, in.h_0.sym_sizes()) : Tensor(),
               sizes.cell.has_c ? problem.out(d.c_0, in.c_0->sym_sizes()) : Tensor(),
               weight_hh ? problem.out(d.weight_hh, in.weight_hh.sym_sizes()) : Tensor(),
               bias_hh ? problem.out(d.bias_hh, {gates}) : Tensor(),
               weight_hr && defined(in.weight_hr)
                   ? problem.out(d.weight_hr, in.weight_hr->sym_sizes())
                   : Tensor()};
  });
  return outputs;
}

RecurrenceDoubleBackward::Outputs unrolled_double_backward(const DoubleBackwardInputs& in) {
  const Sizes sizes = check(in);
  const Tensor xg = xg_of(in.input, in.weight_ih, in.bias_ih);
  const ForwardInputs of = in.forward(xg);
  const auto [h_0, weight_hh, bias_hh, weight_hr] = in.output_mask;
  const Problem problem(sizes, of.xg, of.batch_sizes, of.reverse);
  const Arguments<Array> a = problem.in(of);
  const auto dual = [&](const Array& value, const MaybeTensor& tangent) {
    return Dual<Array>{value, problem.in(tangent)};
  };
  const Arguments<Dual<Array>> arguments{{a.xg, problem.in_rows(in.along_xg)},
                                         dual(a.h_0, in.along_h_0),
                                         dual(a.c_0, in.along_c_0),
                                         dual(a.weight_hh, in.along_weight_hh),
                                         dual(a.bias_hh, in.along_bias_hh),
                                         dual(a.weight_hr, in.along_weight_hr)};
  const Dual<Array> grad_output{problem.in_rows(in.grad_output), {}};
  const State<Dual<Array>> grad_last{{problem.in(in.grad_h_n), {}}, {problem.in(in.grad_c_n), {}}};
  RecurrenceDoubleBackward::Outputs outputs;
  problem.with(arguments, [&](auto recurrence) {
    recurrence.forward();
    const auto d = recurrence.backward(grad_output, grad_last);
    const auto like = [&](const Dual<Array>& gradient, const MaybeTensor& argument) {
      return defined(argument) ? problem.out(gradient.tangent, argument->sym_sizes()) : Tensor();
    };
    outputs = {problem.out_rows(recurrence.output().tangent, sizes.out),
               like(recurrence.h_n(), of.h_0),
               like(recurrence.c_n(), of.c_0),
               like(d.xg, of.xg),
               h_0 ? like(d.h_0, of.h_0) : Tensor(),
               like(d.c_0, of.c_0),
               weight_hh ? like(d.weight_hh, of.weight_hh) : Tensor(),
               bias_hh ? like(d.bias_hh, of.bias_hh) : Tensor(),
               weight_hr ? like(d.weight_hr, of.weight_hr) : Tensor()};
  });
  return outputs;
}

}  // namespace fused_rnn
