#include "torch/unrolled.h"

#include <torch/library.h>

#include <algorithm>

#include "cells/table.h"
#include "torch/array.h"
#include "torch/check.h"
#include "torch/compositions.h"
#include "torch/outputs.h"

namespace fused_rnn {
namespace {

// What goes in and comes out, of values V: arrays, or duals of them.
template <class V>
struct Arguments {
  V xg, h_0, c_0, weight_hh, bias_hh, weight_hr;  // xg: [rows, gates * hidden]
};
template <class V>
struct Results {
  V output, h_n, c_n, cells, tape;  // output, cells, tape: [rows, features]
};

template <class V>
V times(const V& a, const V& b) {
  return map(a, b, [](const Tensor& x, const Tensor& y) { return at::matmul(x, y); });
}
template <class V>
V transposed(const V& a) {
  return map(a, [](const Tensor& t) { return t.t(); });
}

template <class Cell, class V>
class Unrolled {
  static constexpr int G = Cell::kGates;

 public:
  Unrolled(const Arguments<V>& arguments, const std::vector<Step>& steps, int64_t hidden)
      : a_(arguments), steps_(steps), hidden_(hidden), moments_(steps.size()) {}

  Results<V> forward() {
    State<V> state{};
    for (size_t s = 0; s < steps_.size(); ++s) {
      const Step& step = steps_[s];
      Moment& now = moments_[s];
      now.before = {either(state.h, step.kept, a_.h_0, step.size),
                    either(state.c, step.kept, a_.c_0, step.size)};
      V x[G], r[G];
      split(rows(a_.xg, step.row, step.size), x);
      split(recurrent(now.before.h, step.size), r);
      now.after = Cell::step(x, r, now.before, now.tape);
      now.hidden = now.after.h;
      if (projected()) now.after.h = times(now.hidden, transposed(a_.weight_hr));
      state = now.after;
    }
    const auto tape = [&](const Moment& m) { return merged<Cell::kTape>(m.tape); };
    return {in_rows([](const Moment& m) { return m.after.h; }), last(&State<V>::h, a_.h_0),
            last(&State<V>::c, a_.c_0), in_rows([](const Moment& m) { return m.after.c; }),
            in_rows(tape)};
  }

  // The gradients of the arguments, after forward.
  Arguments<V> backward(const V& grad_output, const State<V>& grad_last) {
    Parts<V> d_h_0, d_c_0;  // of the sequences that start at a step
    State<V> after{};       // what the step after hands back
    for (size_t s = steps_.size(); s-- > 0;) {
      const Step& step = steps_[s];
      Moment& now = moments_[s];
      State<V> grad{either(after.h, go_on(s), grad_last.h, step.size) +
                        rows(grad_output, step.row, step.size),
                    either(after.c, go_on(s), grad_last.c, step.size)};
      now.d_out = grad.h;
      if (projected()) grad.h = times(grad.h, a_.weight_hr);
      V dx[G], dr[G];
      after = Cell::step_backward(now.tape, now.before, now.after, grad, dx, dr);
      now.dx = merged<G>(dx);
      now.dr = Cell::kSameGates ? now.dx : merged<G>(dr);
      after.h = after.h + times(now.dr, a_.weight_hh);
      add(d_h_0, after.h, step.kept, step.size);
      add(d_c_0, after.c, step.kept, step.size);
    }
    std::reverse(d_h_0.begin(), d_h_0.end());
    std::reverse(d_c_0.begin(), d_c_0.end());
    const V dr = in_rows([](const Moment& m) { return m.dr; });
    Arguments<V> result;
    result.xg = in_rows([](const Moment& m) { return m.dx; });
    result.h_0 = steps_.empty() ? grad_last.h : join(d_h_0, 0);
    result.c_0 = steps_.empty() ? grad_last.c : join(d_c_0, 0);
    result.weight_hh = times(transposed(dr), in_rows([](const Moment& m) { return m.before.h; }));
    result.bias_hh = map(dr, [](const Tensor& t) { return t.sum(0); });
    if (projected()) {
      result.weight_hr = times(transposed(in_rows([](const Moment& m) { return m.d_out; })),
                               in_rows([](const Moment& m) { return m.hidden; }));
    }
    return result;
  }

 private:
  struct Moment {  // a step: what it made forward and backward
    State<V> before, after;
    V hidden, tape[Cell::kTape + 1], d_out, dx, dr;
  };

  bool projected() const { return defined(a_.weight_hr); }
  static bool defined(const Array& a) { return a.defined(); }
  static bool defined(const Dual<Array>& a) { return a.value.defined(); }

  // Of the sequences of step s, how many go on.
  int64_t go_on(size_t s) const { return s + 1 < steps_.size() ? steps_[s + 1].kept : 0; }

  static V rows(const V& a, int64_t first, int64_t count) {
    return map(a, [&](const Tensor& t) { return t.narrow(0, first, count); });
  }
  // Appends rows [first, end).
  static void add(Parts<V>& parts, const V& a, int64_t first, int64_t end) {
    if (first < end) parts.emplace_back(rows(a, first, end - first), end - first);
  }
  // The first `kept` rows of a, then those of b up to `end`.
  static V either(const V& a, int64_t kept, const V& b, int64_t end) {
    Parts<V> parts;
    add(parts, a, 0, kept);
    add(parts, b, kept, end);
    return join(parts, 0);
  }

  V recurrent(const V& h, int64_t size) const {
    const V bias = map(a_.bias_hh, [&](const Tensor& t) { return t.expand({size, t.size(0)}); });
    return times(h, transposed(a_.weight_hh)) + bias;
  }

  // The features of a as gates, and N values as features.
  void split(const V& a, V (&gates)[G]) const {
    for (int g = 0; g < G; ++g) {
      gates[g] = map(a, [&](const Tensor& t) { return t.narrow(-1, g * hidden_, hidden_); });
    }
  }
  template <int N>
  V merged(const V* values) const {
    Parts<V> parts;
    for (int i = 0; i < N; ++i) parts.emplace_back(values[i], hidden_);
    return join(parts, -1);
  }

  // What f takes of each step, as the rows of one array.
  template <class F>
  V in_rows(F f) const {
    Parts<V> parts;
    for (size_t s = 0; s < steps_.size(); ++s) parts.emplace_back(f(moments_[s]), steps_[s].size);
    if (steps_.size() > 1 && steps_[0].row > steps_[1].row)
      std::reverse(parts.begin(), parts.end());
    return join(parts, 0);
  }

  // Of each sequence the state after its last step.
  V last(V State<V>::* part, const V& initial) const {
    if (steps_.empty()) return map(initial, [](const Tensor& t) { return t.clone(); });
    Parts<V> parts;
    for (size_t s = steps_.size(); s-- > 0;) {
      add(parts, moments_[s].after.*part, go_on(s), steps_[s].size);
    }
    return join(parts, 0);
  }

  const Arguments<V>& a_;
  const std::vector<Step>& steps_;
  const int64_t hidden_;
  std::vector<Moment> moments_;
};

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

Dual<Array> dual(const Array& value, const Array& tangent) { return {value, tangent}; }

}  // namespace

RecurrenceTrain::Outputs unrolled_train(const ForwardInputs& in) {
  const Sizes sizes = check(in);
  const Problem problem(sizes, in.xg, in.batch_sizes, in.reverse);
  const Arguments<Array> arguments = problem.in(in);
  const auto& [has_c, tape] = std::pair(sizes.cell.has_c, sizes.cell.tape);
  RecurrenceTrain::Outputs outputs;
  problem.with(arguments, [&](auto recurrence) {
    const Results<Array> made = recurrence.forward();
    outputs = {problem.out_rows(made.output, sizes.out), problem.out(made.h_n, in.h_0.sym_sizes()),
               has_c ? problem.out(made.c_n, in.c_0->sym_sizes()) : Tensor(),
               has_c ? problem.kept(made.cells, sizes.hidden) : Tensor(),
               tape ? problem.kept(made.tape, sizes.hidden * tape) : Tensor()};
  });
  return outputs;
}

Recurrence::Outputs unrolled(const ForwardInputs& in) { return without_tape(unrolled_train(in)); }

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
  const Problem problem(sizes, in.xg, in.batch_sizes, in.reverse);
  const Arguments<Array> a = problem.in(in.forward());
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
    const auto made = recurrence.forward();
    const auto d = recurrence.backward(grad_output, grad_last);
    const auto like = [&](const Dual<Array>& gradient, const MaybeTensor& argument) {
      return defined(argument) ? problem.out(gradient.tangent, argument->sym_sizes()) : Tensor();
    };
    outputs = {problem.out_rows(made.output.tangent, sizes.out),
               like(made.h_n, in.h_0),
               like(made.c_n, in.c_0),
               like(d.xg, in.xg),
               like(d.h_0, in.h_0),
               like(d.c_0, in.c_0),
               like(d.weight_hh, in.weight_hh),
               like(d.bias_hh, in.bias_hh),
               like(d.weight_hr, in.weight_hr)};
  });
  return outputs;
}

TORCH_LIBRARY_IMPL(fused_rnn, CUDA, m) {
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, unrolled_double_backward>::call);
}
TORCH_LIBRARY_IMPL(fused_rnn, FuncTorchBatched, m) {
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, unrolled_double_backward>::call);
}

}  // namespace fused_rnn
