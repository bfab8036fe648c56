// The derivative of backward: forward and backward again with a tangent beside every value, by the
// cells' formulas over duals. Threads share the sequences. Values that forward has left are not made
// anew, where they are given: forward is its tangents alone then.
#pragma once
#include "cpu/duals-inl.h"
#include "cpu/outer-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class Cell, class T>
class SecondPass {
  static constexpr int W = kLanes<T>, G = Cell::kGates;
  using Value = Dual<Vec<T>>;

 public:
  explicit SecondPass(const Second<T>& args)
      : a_(args),
        p_(args.problem),
        gates_(G * p_.hidden),
        to_gates_(p_.out, gates_, {p_.weight_hh, a_.along_weight_hh}, /*transposed=*/true),
        from_gates_(gates_, p_.out, {p_.weight_hh, a_.along_weight_hh}, /*transposed=*/false),
        to_out_(p_.hidden, p_.out, {p_.weight_hr, a_.along_weight_hr}, /*transposed=*/true),
        from_out_(p_.out, p_.hidden, {p_.weight_hr, a_.along_weight_hr}, /*transposed=*/false),
        made_rows_(a_.output ? 0 : p_.rows),
        h_value_(made_rows_ * p_.out),
        c_value_(Cell::kHasC ? made_rows_ * p_.hidden : 0),
        tape_value_(made_rows_ * Cell::kTape * p_.hidden),
        c_tangent_(Cell::kHasC ? p_.rows * p_.hidden : 0),
        tape_tangent_(p_.rows * Cell::kTape * p_.hidden),
        dr_value_(p_.rows * gates_),
        dr_tangent_(Cell::kSameGates ? 0 : p_.rows * gates_),
        dc_value_(Cell::kHasC ? p_.batch * p_.hidden : 0),
        zero_(p_.out),
        hidden_(p_.weight_hr ? p_.rows * p_.hidden : 0),
        d_out_(p_.weight_hr ? p_.rows * p_.out : 0),
        product_(p_.batch * max(gates_, p_.out)),
        carry_(p_.batch * p_.out),
        made_h_{h_value_, a_.d_grad_output},
        made_c_{c_value_, c_tangent_},
        made_tape_{tape_value_, tape_tangent_},
        h_{a_.output ? a_.output : h_value_, made_h_.tangent},
        c_{a_.output ? a_.cells : c_value_, made_c_.tangent},
        tape_{a_.output ? a_.tape : tape_value_, made_tape_.tangent},
        dr_{dr_value_, Cell::kSameGates ? a_.d_xg : dr_tangent_},
        dc_{dc_value_, a_.d_c_0},
        twice_(2 * p_.num_steps),
        d_weight_hh_(twice_, 2 * p_.num_steps, 2 * p_.rows, gates_, p_.out),
        d_bias_hh_(p_.steps, p_.num_steps, p_.rows, gates_, 0),
        d_weight_hr_(twice_, 2 * p_.num_steps, 2 * p_.rows, p_.out, p_.hidden) {
    for (int64_t i = 0; i < 2 * p_.num_steps; ++i) twice_[i] = p_.steps[i % p_.num_steps];
    copy<T>(zero_, nullptr, p_.out);
  }

  // The weights' gradients may have more threads than the steps.
  int64_t shares() const { return max(p_.batch, ceil_div(gates_, W)); }

  void allocate(int count) {
    d_weight_hh_.allocate(count);
    d_bias_hh_.allocate(count);
    if (p_.weight_hr) d_weight_hr_.allocate(count);
  }

  // The three shares of a thread, with a barrier between them.
  void pack(int thread, int count) {
    to_gates_.pack(thread, count);
    from_gates_.pack(thread, count);
    if (!p_.weight_hr) return;
    to_out_.pack(thread, count);
    from_out_.pack(thread, count);
  }

  void run(int thread, int count) {
    const Range mine = share(p_.batch, thread, count);
    start(mine);
    for (int64_t s = 0; s < p_.num_steps; ++s) forward(s, mine.first, min(mine.last, size(s)));
    for (int64_t s = p_.num_steps; s-- > 0;) backward(s, mine.first, min(mine.last, size(s)));
  }

  // The tangent of dr^T @ h: two products, which are one over twice the rows.
  void weights(int thread, int count) {
    const auto h_before = [&](const T* made, const T* initial, int64_t s, int64_t b) {
      if (b < p_.steps[s].kept) return made + (p_.steps[s - 1].row + b) * p_.out;
      return initial ? initial + b * p_.out : static_cast<const T*>(zero_);
    };
    if (a_.d_weight_hh) {
      d_weight_hh_.run(thread, count, a_.d_weight_hh, nullptr, [&](int64_t i, int64_t b) {
        const int64_t s = i % p_.num_steps, at = (p_.steps[s].row + b) * gates_;
        return i < p_.num_steps
                   ? OuterRow<T>{dr_.tangent + at, h_before(h_.value, p_.h_0, s, b)}
                   : OuterRow<T>{dr_.value + at, h_before(h_.tangent, a_.along_h_0, s, b)};
      });
    }
    if (a_.d_bias_hh) {
      d_bias_hh_.run(thread, count, nullptr, a_.d_bias_hh, [&](int64_t s, int64_t b) {
        return OuterRow<T>{dr_.tangent + (p_.steps[s].row + b) * gates_, nullptr};
      });
    }
    if (!a_.d_weight_hr) return;
    d_weight_hr_.run(thread, count, a_.d_weight_hr, nullptr, [&](int64_t i, int64_t b) {
      const int64_t row = p_.steps[i % p_.num_steps].row + b;
      const Duals<T> d = d_out_.at(row * p_.out), h = hidden_.at(row * p_.hidden);
      return i < p_.num_steps ? OuterRow<T>{d.tangent, h.value} : OuterRow<T>{d.value, h.tangent};
    });
  }

 private:
  int64_t size(int64_t s) const { return p_.steps[s].size; }
  // Of the sequences of step s, how many go on.
  int64_t go_on(int64_t s) const { return s + 1 < p_.num_steps ? p_.steps[s + 1].kept : 0; }

  Duals<const T> h_0(int64_t b) const {
    return Duals<const T>{p_.h_0, a_.along_h_0}.at(b * p_.out);
  }
  Duals<const T> c_0(int64_t b) const {
    return Duals<const T>{p_.c_0, a_.along_c_0}.at(b * p_.hidden);
  }
  // The state before step s of sequence b.
  Duals<const T> h_before(int64_t s, int64_t b) const {
    return b < p_.steps[s].kept ? h_.at((p_.steps[s - 1].row + b) * p_.out) : h_0(b);
  }
  Duals<const T> c_before(int64_t s, int64_t b) const {
    return b < p_.steps[s].kept ? c_.at((p_.steps[s - 1].row + b) * p_.hidden) : c_0(b);
  }

  // Final states of sequences that have no steps, and the gradients that all start from.
  void start(Range mine) {
    for (int64_t b = mine.first; b < mine.last; ++b) {
      const int64_t h = b * p_.out, c = b * p_.hidden;
      if (p_.num_steps == 0) copy(a_.d_grad_h_n + h, h_0(b).tangent, p_.out);
      copy(carry_.at(h), {offset(a_.grad_h_n, h), nullptr}, p_.out);
      if (p_.num_steps == 0) copy<T>(a_.d_h_0 + h, nullptr, p_.out);
      if constexpr (!Cell::kHasC) continue;
      if (p_.num_steps == 0) copy(a_.d_grad_c_n + c, c_0(b).tangent, p_.hidden);
      copy(dc_.at(c), {offset(a_.grad_c_n, c), nullptr}, p_.hidden);
    }
  }

  // What forward makes with the product of a step.
  Duals<T> recurrent(int64_t b) const {
    const Duals<T> both = product_.at(b * gates_);
    return {a_.output ? nullptr : both.value, both.tangent};
  }

  void forward(int64_t s, int64_t first, int64_t end) {
    if (first >= end) return;
    const Step& step = p_.steps[s];
    const int64_t kept = max(first, min(end, step.kept));
    for (const Range part : {Range{first, kept}, Range{kept, end}}) {
      if (part.first == part.last) continue;
      to_gates_.multiply(part.last - part.first, h_before(s, part.first),
                         {a_.bias_hh, a_.along_bias_hh}, 0, recurrent(part.first));
    }
    for (int64_t b = first; b < end; ++b) {
      each_unit([&](int64_t unit, auto lanes)
                    __attribute__((always_inline)) { step_forward(s, b, unit, lanes); });
    }
    const int64_t row = step.row + first;
    if (p_.weight_hr) {
      to_out_.multiply(end - first, hidden_.at(row * p_.hidden), {nullptr, nullptr}, 0,
                       made_h_.at(row * p_.out));
    }
    for (int64_t b = max(first, go_on(s)); b < end; ++b) {
      const int64_t at = step.row + b;
      copy(a_.d_grad_h_n + b * p_.out, h_.tangent + at * p_.out, p_.out);
      if (Cell::kHasC)
        copy(a_.d_grad_c_n + b * p_.hidden, c_.at(at * p_.hidden).tangent, p_.hidden);
    }
  }

  void backward(int64_t s, int64_t first, int64_t end) {
    if (first >= end) return;
    const Step& step = p_.steps[s];
    const int64_t row = step.row + first, on = max(first, min(end, go_on(s)));
    // carry_ becomes the whole gradient of h, but for grad_output.
    if (on > first) {
      const int64_t after = p_.steps[s + 1].row + first;
      from_gates_.multiply(on - first, dr_.at(after * gates_), carry_.at(first * p_.out), p_.out,
                           carry_.at(first * p_.out));
    }
    if (p_.weight_hr) projected(first, end, row);
    for (int64_t b = first; b < end; ++b) {
      each_unit([&](int64_t unit, auto lanes)
                    __attribute__((always_inline)) { step_backward(s, b, unit, lanes); });
    }
    const int64_t begun = max(first, min(end, step.kept));
    const Duals<T> carry = carry_.at(begun * p_.out);
    from_gates_.multiply(end - begun, dr_.at((step.row + begun) * gates_), carry, p_.out, carry);
    copy(a_.d_h_0 + begun * p_.out, carry.tangent, (end - begun) * p_.out);
  }

  // The gradient of h before the projection, in product_, and carry_ at zero.
  void projected(int64_t first, int64_t end, int64_t row) {
    for (int64_t b = first; b < end; ++b) {
      const int64_t at = (row + b - first) * p_.out;
      const T* grad = offset(a_.grad_output, at);
      const Duals<T> carry = carry_.at(b * p_.out);
      copy(d_out_.at(at), carry, p_.out);
      for (int64_t j = 0; grad && j < p_.out; ++j) d_out_.at(at).value[j] += grad[j];
      copy(carry, {nullptr, nullptr}, p_.out);
    }
    from_out_.multiply(end - first, d_out_.at(row * p_.out), {nullptr, nullptr}, 0,
                       product_.at(first * p_.hidden));
  }

  template <class F>
  FR_FN void each_unit(F f) const {
    int64_t unit = 0;
    for (; unit + W <= p_.hidden; unit += W) f(unit, AllLanes<T>{});
    if (unit < p_.hidden) f(unit, p_.hidden - unit);
  }

  template <class Lanes>
  FR_FN void step_forward(int64_t s, int64_t b, int64_t unit, Lanes lanes) {
    const int64_t H = p_.hidden, row = p_.steps[s].row + b;
    State<Value> before{}, after;
    Value x[G], r[G], tape[Cell::kTape + 1];
    for (int g = 0; g < G; ++g) {
      const int64_t at = g * H + unit;
      x[g] = load(Duals<const T>{a_.xg, a_.along_xg}.at(row * gates_ + at), lanes);
      r[g] = load(recurrent(b).at(at), lanes);
    }
    if constexpr (Cell::kReadsBefore) before.h = load(h_before(s, b).at(unit), lanes);
    if constexpr (Cell::kHasC) before.c = load(c_before(s, b).at(unit), lanes);
    if (a_.output) {
      Known<Vec<T>> known[G];
      recall(row, unit, lanes, x, r, known);
      after = Cell::step(known, r, before, tape);
    } else {
      after = Cell::step(x, r, before, tape);
    }
    for (int k = 0; k < Cell::kTape; ++k) {
      store(made_tape_.at((row * Cell::kTape + k) * H + unit), tape[k], lanes);
    }
    if constexpr (Cell::kHasC) store(made_c_.at(row * H + unit), after.c, lanes);
    store(p_.weight_hr ? hidden_.at(row * H + unit) : made_h_.at(row * H + unit), after.h, lanes);
  }

  // The values of a step's x and r, whose tangents are there, by what forward has left.
  template <class Lanes>
  FR_FN void recall(int64_t row, int64_t unit, Lanes lanes, const Value (&x)[G], Value (&r)[G],
                    Known<Vec<T>> (&known)[G]) {
    const int64_t H = p_.hidden;
    State<Vec<T>> after{};
    Vec<T> tape[Cell::kTape + 1], activation[G], recurrent[G] = {};
    for (int k = 0; k < Cell::kTape; ++k) {
      tape[k] = load(tape_.value + (row * Cell::kTape + k) * H + unit, lanes);
    }
    if constexpr (Cell::kReadsAfter) after.h = load(h_.value + row * H + unit, lanes);
    Cell::recall(tape, after, activation, recurrent);
    for (int g = 0; g < G; ++g) {
      known[g] = {activation[g], x[g].tangent};
      r[g].value = recurrent[g];
    }
  }

  template <class Lanes>
  FR_FN void step_backward(int64_t s, int64_t b, int64_t unit, Lanes lanes) {
    const int64_t H = p_.hidden, row = p_.steps[s].row + b;
    State<Value> before{}, after{}, grad{};
    Value tape[Cell::kTape + 1], dx[G], dr[G];
    for (int k = 0; k < Cell::kTape; ++k) {
      tape[k] = load(tape_.at((row * Cell::kTape + k) * H + unit), lanes);
    }
    if constexpr (Cell::kReadsBefore) before.h = load(h_before(s, b).at(unit), lanes);
    if constexpr (Cell::kReadsAfter) after.h = load(h_.at(row * H + unit), lanes);
    if constexpr (Cell::kHasC) {
      before.c = load(c_before(s, b).at(unit), lanes);
      after.c = load(c_.at(row * H + unit), lanes);
      grad.c = load(dc_.at(b * H + unit), lanes);
    }
    grad.h = load(p_.weight_hr ? product_.at(b * H + unit) : carry_.at(b * H + unit), lanes);
    if (a_.grad_output && !p_.weight_hr) {
      grad.h.value += load(a_.grad_output + row * H + unit, lanes);
    }
    const State<Value> direct = Cell::step_backward(tape, before, after, grad, dx, dr);
    for (int g = 0; g < G; ++g) {
      const int64_t at = row * gates_ + g * H + unit;
      store(a_.d_xg + at, dx[g].tangent, lanes);
      if constexpr (Cell::kSameGates) {
        store(dr_.value + at, dx[g].value, lanes);
      } else {
        store(dr_.at(at), dr[g], lanes);
      }
    }
    if constexpr (Cell::kHasC) store(dc_.at(b * H + unit), direct.c, lanes);
    if (!p_.weight_hr) store(carry_.at(b * H + unit), direct.h, lanes);
  }

  const Second<T>& a_;
  const Problem<T>& p_;
  const int64_t gates_;
  DualMatrix<T> to_gates_, from_gates_, to_out_, from_out_;
  const int64_t made_rows_;  // whose values are made here
  Buffer<T> h_value_, c_value_, tape_value_, c_tangent_, tape_tangent_;
  Buffer<T> dr_value_, dr_tangent_, dc_value_;
  Buffer<T> zero_;                              // [out]
  DualBuffer<T> hidden_;                        // [rows][hidden], h before the projection
  DualBuffer<T> d_out_;                         // [rows][out], the whole gradient of a projected h
  DualBuffer<T> product_;                       // [batch], of what the step needs
  DualBuffer<T> carry_;                         // [batch][out]
  const Duals<T> made_h_, made_c_, made_tape_;  // what of the next three is made here
  const Duals<const T> h_;     // [rows][out], its tangent the gradient of grad_output
  const Duals<const T> c_;     // [rows][hidden]
  const Duals<const T> tape_;  // [rows][tape][hidden]
  const Duals<T> dr_;          // [rows][gates], the gradients of r
  const Duals<T> dc_;          // [batch][hidden], of c, its tangent at last that of c_0
  Buffer<Step> twice_;
  OuterProduct<T> d_weight_hh_, d_bias_hh_, d_weight_hr_;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
