// The loop over time and its gradient, for a cell over arrays or over duals of arrays.
#pragma once
#include <algorithm>

#include "cells/table.h"
#include "steps.h"
#include "torch/array.h"

namespace fused_rnn {

// What goes in and comes out, of values V: arrays, or duals of them.
template <class V>
struct Arguments {
  V xg, h_0, c_0, weight_hh, bias_hh, weight_hr;  // xg: [rows, gates * hidden]
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
      : a_(arguments),
        weight_hh_t_(transposed(arguments.weight_hh)),
        weight_hr_t_(transposed(arguments.weight_hr)),
        steps_(steps),
        hidden_(hidden),
        moments_(steps.size()) {}

  void forward() {
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
      if (projected()) now.after.h = times(now.hidden, weight_hr_t_);
      state = now.after;
    }
  }

  // What forward made; output, cells and tape: [rows, features].
  V output() const {
    return in_rows([](const Moment& m) { return m.after.h; });
  }
  V cells() const {
    return in_rows([](const Moment& m) { return m.after.c; });
  }
  V tape() const {
    return in_rows([&](const Moment& m) { return merged<Cell::kTape>(m.tape); });
  }
  V h_n() const { return last(&State<V>::h, a_.h_0); }
  V c_n() const { return last(&State<V>::c, a_.c_0); }

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
    result.h_0 = steps_.empty() ? copy(grad_last.h) : join(d_h_0, 0);
    result.c_0 = steps_.empty() ? copy(grad_last.c) : join(d_c_0, 0);
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

  // A result that shares no memory with another.
  static V copy(const V& a) {
    return map(a, [](const Tensor& t) { return t.clone(); });
  }

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
    return times(h, weight_hh_t_) + bias;
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
    if (steps_.empty()) return copy(initial);
    Parts<V> parts;
    for (size_t s = steps_.size(); s-- > 0;) {
      add(parts, moments_[s].after.*part, go_on(s), steps_[s].size);
    }
    return parts.size() == 1 ? copy(join(parts, 0)) : join(parts, 0);
  }

  const Arguments<V>& a_;
  const V weight_hh_t_, weight_hr_t_;
  const std::vector<Step>& steps_;
  const int64_t hidden_;
  std::vector<Moment> moments_;
};

}  // namespace fused_rnn
