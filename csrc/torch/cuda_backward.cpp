// The backward op on a CUDA device: the loop by one persistent kernel or step by step, then the
// weights' gradients, one product each over all rows in an order that never changes.
#include <ATen/ops/add.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>

#include "torch/cuda_recurrence.h"
#include "torch/unrolled.h"

namespace fused_rnn {
namespace {

struct BackwardTensors {
  Tensor grad_output, grad_h_n, grad_c_n, output, cells, tape, h_0, weight_hh, weight_hr;
  Tensor c_0;  // of the dtype that is computed in
  Tensor d_xg, d_h_0, d_c_0;
  Tensor dr;      // [rows, gates * hidden]: d_xg, where the cell has them equal
  Tensor d_out;   // [rows, out]: the whole gradient of a projected h
  Tensor hidden;  // [rows, hidden]: h before its projection, if wanted
};

template <class S>
void by_one_kernel(const Sequence& s, const BackwardTensors& t, const OneKernel& kernel) {
  using T = cuda::Compute<S>;
  const cuda::PersistentBackward<S> problem{kernel.runs,
                                            s.batch,
                                            s.hidden,
                                            {},
                                            data<const S>(t.grad_output),
                                            data<const S>(t.grad_h_n),
                                            data<const S>(t.grad_c_n),
                                            data<const S>(t.output),
                                            data<const S>(t.h_0),
                                            data<const T>(t.cells),
                                            data<const T>(t.tape),
                                            data<const T>(t.c_0),
                                            data<const S>(t.weight_hh),
                                            data<S>(t.d_xg),
                                            s.sizes.cell.same_gates ? nullptr : data<S>(t.dr),
                                            data<S>(t.d_h_0),
                                            data<S>(t.d_c_0)};
  check_launch(cuda::launch_persistent(s.sizes.row, problem, kernel.plan, s.stream),
               "persistent_backward", s.sizes.cell);
}

template <class S>
class BackwardSteps {
  using T = cuda::Compute<S>;

 public:
  BackwardSteps(const Sequence& s, const BackwardTensors& t)
      : s_(s),
        t_(t),
        carry_(t.grad_h_n.defined() ? t.grad_h_n.clone()
                                    : at::zeros({s.batch, s.out}, t.output.options())) {
    const auto options = t.output.options().dtype(compute_dtype(t.output.scalar_type()));
    if (s.sizes.cell.reads_before) direct_ = at::zeros({s.batch, s.hidden}, options);
    if (s.sizes.cell.has_c) {
      d_c_ = t.grad_c_n.defined() ? t.grad_c_n.to(options, false, /*copy=*/true)
                                  : at::zeros({s.batch, s.hidden}, options);
    }
    if (t.d_out.defined()) d_hidden_ = at::empty({s.batch, s.hidden}, t.output.options());
    if (t.grad_output.defined()) grad_output_ = t.grad_output.view({s.rows, s.out});
  }

  void run() {
    for (size_t i = s_.steps.size(); i-- > 0;) {
      const Step& step = s_.steps[i];
      if (t_.d_out.defined()) project(step);
      check_launch(cuda::launch_step(s_.sizes.row, arguments(i), s_.stream), "step_backward",
                   s_.sizes.cell);
      if (i > 0 || t_.d_h_0.defined()) {
        Tensor carry = carry_.narrow(0, 0, step.size);
        at::mm_out(carry, t_.dr.narrow(0, step.row, step.size), t_.weight_hh);
      }
    }
    if (t_.d_h_0.defined()) {
      Tensor d_h_0 = t_.d_h_0;
      direct_.defined() ? at::add_out(d_h_0, carry_, direct_) : d_h_0.copy_(carry_);
    }
    if (d_c_.defined()) t_.d_c_0.copy_(d_c_);
  }

 private:
  // From the gradient of the projected h to that of h before.
  void project(const Step& step) {
    Tensor d_out = t_.d_out.narrow(0, step.row, step.size);
    const Tensor carry = carry_.narrow(0, 0, step.size);
    if (grad_output_.defined()) {
      at::add_out(d_out, grad_output_.narrow(0, step.row, step.size), carry);
    } else {
      d_out.copy_(carry);
    }
    Tensor d_hidden = d_hidden_.narrow(0, 0, step.size);
    at::mm_out(d_hidden, d_out, t_.weight_hr);
  }

  cuda::StepBackward<S, T> arguments(size_t i) const {
    const Step& step = s_.steps[i];
    const int64_t before = s_.row_before(i);
    const bool projected = d_hidden_.defined();
    return {step.size,
            s_.hidden,
            {step.kept,
             array<const S>(projected ? Tensor() : grad_output_, step.row),
             array<const S>(t_.output, step.row),
             array<const T>(t_.cells, step.row),
             array<const T>(t_.tape, step.row),
             {array<const S>(t_.output, before), array<const S>(t_.h_0)},
             {array<const T>(t_.cells, before), array<const T>(t_.c_0)}},
            array<const S>(projected ? d_hidden_ : carry_),
            array<T>(direct_),
            array<T>(d_c_),
            {array<S>(t_.d_xg, step.row),
             s_.sizes.cell.same_gates ? cuda::Array<S, T>{} : array<S>(t_.dr, step.row)},
            array<S>(t_.hidden, step.row)};
  }

  const Sequence& s_;
  const BackwardTensors& t_;
  Tensor carry_;        // [batch, out]: dh through the matrix product, from grad_h_n on
  Tensor direct_;       // [batch, hidden]: dh beside it
  Tensor d_c_;          // [batch, hidden]
  Tensor d_hidden_;     // [batch, hidden]: dh before the projection
  Tensor grad_output_;  // [rows, out]
};

// h before every row, in the order of rows: a copy of stretches of the output and of h_0.
Tensor states_before(const Sequence& s, const BackwardTensors& t) {
  struct Stretch {
    bool initial;
    int64_t first, count;
  };
  std::vector<Stretch> stretches;
  const auto add = [&](bool initial, int64_t first, int64_t count) {
    if (!count) return;
    if (!stretches.empty()) {
      Stretch& last = stretches.back();
      if (last.initial == initial && last.first + last.count == first) {
        last.count += count;
        return;
      }
    }
    stretches.push_back({initial, first, count});
  };
  for (size_t n = 0; n < s.steps.size(); ++n) {
    const size_t i = s.reverse ? s.steps.size() - 1 - n : n;
    add(false, s.row_before(i), s.steps[i].kept);
    add(true, s.steps[i].kept, s.steps[i].size - s.steps[i].kept);
  }
  const Tensor output = t.output.view({s.rows, s.out});
  std::vector<Tensor> pieces;
  for (const Stretch& stretch : stretches) {
    pieces.push_back((stretch.initial ? t.h_0 : output).narrow(0, stretch.first, stretch.count));
  }
  return pieces.empty() ? output : at::cat(pieces);
}

// Of no rows, zero.
void multiply_rows(Tensor d_weight, const Tensor& d_rows, const Tensor& rows) {
  at::mm_out(d_weight, d_rows.t(), rows);
}

template <class S>
void run(const Sequence& s, const BackwardTensors& t) {
  const auto kernel = one_kernel<S>(s, t.weight_hr.defined(), cuda::plan_backward);
  kernel ? by_one_kernel<S>(s, t, *kernel) : BackwardSteps<S>(s, t).run();
}

RecurrenceBackward::Outputs recurrence_backward(const BackwardInputs& in) {
  const Sizes sizes = check(in);
  const Sequence s(sizes, in.output, in);
  const c10::DeviceGuard guard(s.device);
  const auto gradients = new_gradients(sizes, in);
  const auto& [d_xg, d_h_0, d_c_0, d_weight_hh, d_bias_hh, d_weight_hr] = gradients;
  BackwardTensors t{contiguous(in.grad_output),
                    contiguous(in.grad_h_n),
                    contiguous(in.grad_c_n),
                    in.output.contiguous(),
                    contiguous(in.cells),
                    contiguous(in.tape),
                    in.h_0.contiguous(),
                    in.weight_hh.contiguous(),
                    contiguous(in.weight_hr),
                    contiguous(in.c_0),
                    d_xg,
                    d_h_0,
                    d_c_0,
                    {},
                    {},
                    {}};
  const auto options = t.output.options();
  if (t.c_0.defined()) t.c_0 = t.c_0.to(compute_dtype(options.dtype().toScalarType()));
  t.dr =
      sizes.cell.same_gates ? d_xg.view({s.rows, s.gates}) : at::empty({s.rows, s.gates}, options);
  if (t.weight_hr.defined()) t.d_out = at::empty({s.rows, s.out}, options);
  if (d_weight_hr.defined()) t.hidden = at::empty({s.rows, s.hidden}, options);
  visit_dtype(in.output.scalar_type(), [&](auto type) { run<decltype(type)>(s, t); });
  if (d_weight_hh.defined()) multiply_rows(d_weight_hh, t.dr, states_before(s, t));
  if (d_bias_hh.defined()) {
    Tensor sum = d_bias_hh;
    at::sum_out(sum, t.dr, at::IntArrayRef({0}));
  }
  if (d_weight_hr.defined()) multiply_rows(d_weight_hr, t.d_out, t.hidden);
  return gradients;
}

}  // namespace

void register_cuda_backward(torch::Library& m) {
  m.impl("recurrence_backward", Kernel<RecurrenceBackward, recurrence_backward>::call);
  m.impl("recurrence_double_backward",
         Kernel<RecurrenceDoubleBackward, unrolled_double_backward>::call);
}

}  // namespace fused_rnn
