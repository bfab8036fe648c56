// The derivative of backward: the tangents of forward, whose values are known, and backward again with a
// tangent beside every value, both by the cells' formulas over duals. Threads share the sequences.
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
        h_{a_.output, a_.d_grad_output},
        c_{a_.cells, c_tangent_},
        tape_{a_.tape, tape_tangent_},
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
    if (a_.d_weight_hh) d_weight_hh_.allocate(count);
    if (a_.d_bias_hh) d_bias_hh_.allocate(count);
    if (a_.d_weight_hr) d_weight_hr_.allocate(count);
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

  void forward(int64_t s, int64_t first, int64_t end) {
    if (first >= end) return;
    const Step& step = p_.steps[s];
    const int64_t kept = max(first, min(end, step.kept));
    for (const Range part : {Range{first, kept}, Range{kept, end}}) {
      if (part.first == part.last) continue;
      to_gates_.tangents(part.last - part.first, h_before(s, part.first), {a_.along_bias_hh, 0},
                         product_.at(part.first * gates_).tangent);
    }
    for (int64_t b = first; b < end; ++b) {
      each_unit([&](int64_t unit, auto lanes)
                    __attribute__((always_inline)) { step_forward(s, b, unit, lanes); });
    }
    const int64_t row = step.row + first;
    if (p_.weight_hr) {
      to_out_.tangents(end - first, hidden_.at(row * p_.hidden), {nullptr, 0},
                       a_.d_grad_output + row * p_.out);
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

  // The step again, its activations from the tape and the output.
  template <class Lanes>
  FR_FN void step_forward(int64_t s, int64_t b, int64_t unit, Lanes lanes) {
    const int64_t H = p_.hidden, row = p_.steps[s].row + b;
    State<Vec<T>> left{};
    Vec<T> left_tape[Cell::kTape + 1], activation[G], part[G] = {};
    for (int k = 0; k < Cell::kTape; ++k) {
      left_tape[k] = load(tape_.value + (row * Cell::kTape + k) * H + unit, lanes);
    }
    if constexpr (Cell::kReadsAfter) left.h = load(h_.value + row * H + unit, lanes);
    Cell::recall(left_tape, left, activation, part);

    Known<Vec<T>> x[G];
    Value r[G], tape[Cell::kTape + 1];
    for (int g = 0; g < G; ++g) {
      const T* along = offset(a_.along_xg, row * gates_ + g * H + unit);
      x[g] = {activation[g], along ? load(along, lanes) : Vec<T>{}};
      r[g] = {part[g], load(product_.at(b * gates_ + g * H + unit).tangent, lanes)};
    }
    State<Value> before{};
    if constexpr (Cell::kReadsBefore) before.h = load(h_before(s, b).at(unit), lanes);
    if constexpr (Cell::kHasC) before.c = load(c_before(s, b).at(unit), lanes);
    const State<Value> after = Cell::step(x, r, before, tape);
    for (int k = 0; k < Cell::kTape; ++k) {
      store(tape_.tangent + (row * Cell::kTape + k) * H + unit, tape[k].tangent, lanes);
    }
    if constexpr (Cell::kHasC) store(c_.tangent + row * H + unit, after.c.tangent, lanes);
    if (p_.weight_hr) {
      store(hidden_.at(row * H + unit), after.h, lanes);
    } else {
      store(a_.d_grad_output + row * H + unit, after.h.tangent, lanes);
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
  Buffer<T> c_tangent_, tape_tangent_, dr_value_, dr_tangent_, dc_value_;
  Buffer<T> zero_;         // [out]
  DualBuffer<T> hidden_;   // [rows][hidden], h before the projection
  DualBuffer<T> d_out_;    // [rows][out], the whole gradient of a projected h
  DualBuffer<T> product_;  // [batch], of what the step needs
  DualBuffer<T> carry_;    // [batch][out]
  // What forward left, and the tangents, whose place nothing else writes: of h, the gradient of
  // grad_output.
  struct Made {
    const T* value;
    T* tangent;
    Duals<const T> at(int64_t n) const { return {offset(value, n), offset(tangent, n)}; }
  };
  const Made h_;       // [rows][out]
  const Made c_;       // [rows][hidden]
  const Made tape_;    // [rows][tape][hidden]
  const Duals<T> dr_;  // [rows][gates], the gradients of r
  const Duals<T> dc_;  // [batch][hidden], of c, its tangent at last that of c_0
  Buffer<Step> twice_;
  OuterProduct<T> d_weight_hh_, d_bias_hh_, d_weight_hr_;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
