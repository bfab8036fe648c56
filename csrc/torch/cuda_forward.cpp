// The forward ops on a CUDA device: one persistent kernel where the plan has one, else a matrix
// product by ATen and one kernel a step.
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <c10/core/DeviceGuard.h>

#include "torch/cuda_recurrence.h"

namespace fused_rnn {
namespace {

struct ForwardTensors {
  Tensor xg, h_0, c_0, weight_hh, bias_hh, weight_hr;
  Tensor output, h_n, c_n, cells, tape;
};

template <class S>
void by_one_kernel(const Sequence& s, const ForwardTensors& t, const OneKernel& kernel) {
  using T = cuda::Compute<S>;
  const cuda::PersistentForward<S> problem{kernel.runs,
                                           s.batch,
                                           s.hidden,
                                           {},
                                           data<const S>(t.xg),
                                           data<const S>(t.weight_hh),
                                           data<const S>(t.bias_hh),
                                           data<const S>(t.h_0),
                                           data<const S>(t.c_0),
                                           data<S>(t.output),
                                           data<S>(t.h_n),
                                           data<S>(t.c_n),
                                           data<T>(t.cells),
                                           data<T>(t.tape)};
  check_launch(cuda::launch_persistent(s.sizes.row, problem, kernel.plan, s.stream),
               "persistent_forward", s.sizes.cell);
}

// c is kept at every step for backward, or else updated in place.
template <class S>
class ForwardSteps {
  using T = cuda::Compute<S>;

 public:
  ForwardSteps(const Sequence& s, const ForwardTensors& t)
      : s_(s),
        t_(t),
        output_(t.output.view({s.rows, s.out})),
        weight_(t.weight_hh.t()),
        r_(at::empty({s.batch, s.gates}, t.xg.options())) {
    if (s.sizes.cell.has_c)
      c_ = t.c_0.to(compute_dtype(t.xg.scalar_type()), false, !t.cells.defined());
    if (t.weight_hr.defined()) {
      hidden_ = at::empty({s.batch, s.hidden}, t.xg.options());
      projection_ = t.weight_hr.t();
    }
  }

  void run() {
    for (size_t i = 0; i < s_.steps.size(); ++i) {
      product(i);
      check_launch(cuda::launch_step(s_.sizes.row, arguments(i), s_.stream), "step_forward",
                   s_.sizes.cell);
      if (hidden_.defined()) project(s_.steps[i]);
      end(i);
    }
    if (s_.steps.empty()) t_.h_n.copy_(t_.h_0);
    if (s_.sizes.cell.has_c && (s_.steps.empty() || !t_.cells.defined())) t_.c_n.copy_(c_);
  }

 private:
  // r = h before @ weight_hh.T
  void product(size_t i) {
    const Step& step = s_.steps[i];
    const int64_t started = step.size - step.kept;
    if (step.kept) multiply(output_.narrow(0, s_.row_before(i), step.kept), 0);
    if (started) multiply(t_.h_0.narrow(0, step.kept, started), step.kept);
  }
  void multiply(const Tensor& h, int64_t row) {
    Tensor r = r_.narrow(0, row, h.size(0));
    at::mm_out(r, h, weight_);
  }

  cuda::StepForward<S, T> arguments(size_t i) const {
    const Step& step = s_.steps[i];
    const int64_t before = s_.row_before(i);
    const Tensor& h = hidden_.defined() ? hidden_ : t_.output;
    const bool keeps = t_.cells.defined();
    return {step.size,
            s_.hidden,
            step.kept,
            array<const S>(t_.xg, step.row),
            array<const S>(r_),
            array<const S>(t_.bias_hh),
            {array<const S>(t_.output, before), array<const S>(t_.h_0)},
            {keeps ? array<const T>(t_.cells, before) : array<const T>(c_), array<const T>(c_)},
            {array<S>(h, hidden_.defined() ? 0 : step.row),
             keeps ? array<T>(t_.cells, step.row) : array<T>(c_), array<T>(t_.tape, step.row)}};
  }

  void project(const Step& step) {
    Tensor h = output_.narrow(0, step.row, step.size);
    at::mm_out(h, hidden_.narrow(0, 0, step.size), projection_);
  }

  // The sequences whose last step this is.
  void end(size_t i) {
    const Step& step = s_.steps[i];
    const int64_t go_on = i + 1 < s_.steps.size() ? s_.steps[i + 1].kept : 0;
    if (go_on == step.size) return;
    const auto copy = [&](const Tensor& from, const Tensor& to) {
      to.narrow(0, go_on, step.size - go_on)
          .copy_(from.view({s_.rows, -1}).narrow(0, step.row + go_on, step.size - go_on));
    };
    copy(t_.output, t_.h_n);
    if (t_.cells.defined()) copy(t_.cells, t_.c_n);
  }

  const Sequence& s_;
  const ForwardTensors& t_;
  Tensor output_;      // [rows, out]
  Tensor weight_;      // [out, gates * hidden]
  Tensor r_;           // [batch, gates * hidden]
  Tensor c_;           // [batch, hidden], as computed with: initial, or in place
  Tensor hidden_;      // [batch, hidden]: h before its projection
  Tensor projection_;  // [hidden, out]
};

template <class S>
void run(const Sequence& s, const ForwardTensors& t) {
  const auto kernel = one_kernel<S>(s, t.weight_hr.defined(), cuda::plan_forward);
  kernel ? by_one_kernel<S>(s, t, *kernel) : ForwardSteps<S>(s, t).run();
}

// xg: given, or the layer's input projected.
template <class Inputs>
RecurrenceTrain::Outputs forward(const Sizes& sizes, const Tensor& xg, const Inputs& in,
                                 bool train) {
  const c10::DeviceGuard guard(xg.device());
  const auto results = new_outputs(sizes, xg, in.h_0, in.c_0, train);
  const auto& [output, h_n, c_n, cells, tape] = results;
  const ForwardTensors tensors{xg.contiguous(),
                               in.h_0.contiguous(),
                               contiguous(in.c_0),
                               in.weight_hh.contiguous(),
                               contiguous(in.bias_hh),
                               contiguous(in.weight_hr),
                               output,
                               h_n,
                               c_n,
                               cells,
                               tape};
  const Sequence sequence(sizes, xg, in);
  visit_dtype(xg.scalar_type(), [&](auto s) { run<decltype(s)>(sequence, tensors); });
  return results;
}

Recurrence::Outputs recurrence(const ForwardInputs& in) {
  return without_tape(forward(check(in), in.xg, in, /*train=*/false));
}

RecurrenceTrain::Outputs recurrence_train(const ForwardInputs& in) {
  return forward(check(in), in.xg, in, /*train=*/true);
}

LayerTrain::Outputs forward(const LayerInputs& in, bool train) {
  const Sizes sizes = check(in);
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  return forward(sizes, at::linear(in.input, in.weight_ih, in.bias_ih), in, train);
}

Layer::Outputs layer(const LayerInputs& in) { return without_tape(forward(in, /*train=*/false)); }

LayerTrain::Outputs layer_train(const LayerInputs& in) { return forward(in, /*train=*/true); }

}  // namespace

void register_cuda_forward(torch::Library& m) {
  m.impl("recurrence", Kernel<Recurrence, recurrence>::call);
  m.impl("recurrence_train", Kernel<RecurrenceTrain, recurrence_train>::call);
  m.impl("layer", Kernel<Layer, layer>::call);
  m.impl("layer_train", Kernel<LayerTrain, layer_train>::call);
}

}  // namespace fused_rnn
