// The recurrence forward. A step is the product of the last h with weight_hh, a tile at a time, and
// the cell over one or several while they are in the L1 cache (gate_panels-inl.h has the layout).
// Where there are many sequences a thread takes a slice of them through all steps, with no barrier; where there are
// few, and reading the weights is what takes the time, threads share the units and meet after every step. So they
// do in one step of many rows, which are then packed, not the weights.
#pragma once
#include "cpu/barrier.h"
#include "cpu/forward_cell-inl.h"
#include "cpu/forward_weights-inl.h"
#include "cpu/next_step-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class Cell, class T, class S = T>
class ForwardPass {
  using Panels = GatePanels<Cell, T>;
  static constexpr int64_t kElement = sizeof(S);
  static constexpr int W = Panels::W, G = Panels::G, V = Panels::V;

 public:
  explicit ForwardPass(const Forward<T, S>& args)
      : f_(args),
        p_(args.problem),
        panels_(p_.hidden),
        plan_(plan_forward(p_.threads, panels_.count(), p_.rows, p_.batch, p_.num_steps, p_.out,
                           args.xg, args.packed_hh, in_lines(), W,
                           G * p_.hidden * args.in * kElement, G * p_.hidden * p_.out * kElement,
                           max(panels_.row(), 1) * static_cast<int64_t>(sizeof(T)),
                           step_products())),
        weights_(args, panels_, plan_),
        projection_(p_.hidden / kValues<S>, p_.weight_hr ? p_.out * kValues<S> : 0),
        projected_(p_.weight_hr ? p_.batch * p_.hidden / kValues<S> : 0),
        state_(kKeepsState<Cell, T, S> ? p_.batch * p_.hidden : 0),
        xg_(ahead() ? plan_.block_rows * panels_.row() + W : 0),
        columns_x_(args.in, as_scalars() && joined() ? p_.batch : 0),
        columns_h_(p_.out, as_scalars() ? p_.batch : 0) {}

  int64_t shares() const {
    return parts(plan_.by_units, p_.batch, panels_.count(), step_products());
  }

  void allocate(int count) { weights_.allocate(count); }

  // The share of one thread of `count`: first this, then, after a barrier, run.
  void pack(int thread, int count) {
    const Range batch = share(p_.batch, thread, count);
    weights_.pack(share(panels_.count(), thread, count));
    columns_x_.pack_transpose_of(f_.input, thread, count);
    columns_h_.pack_transpose_of(p_.h_0, thread, count);
    projection_.pack_transpose_of(p_.weight_hr, thread, count);
    if (p_.c_0) copy_rows(p_.c_0, batch, p_.hidden, f_.c_n);
    for (int64_t i = batch.first * p_.hidden; state_ && i < batch.last * p_.hidden; ++i) {
      state_[i] = value_of(p_.h_0, i);
    }
    if (p_.num_steps == 0) copy_rows(p_.h_0, batch, p_.out, f_.h_n);
  }

  void run(int thread, int count) {
    const Range mine = share(p_.batch, thread, count);
    const Range panels =
        plan_.by_units ? share(panels_.count(), thread, count) : Range{0, panels_.count()};
    const Range batch = plan_.by_units ? Range{0, p_.batch} : mine;
    int64_t block_end = 0, block_row = 0;  // of the steps projected ahead
    for (int64_t s = 0; s < p_.num_steps; ++s) {
      const Step& step = p_.steps[s];
      const int64_t end = min(batch.last, step.size);
      if (end <= batch.first) continue;
      if (ahead() && s >= block_end) {
        block_end = project(s, panels, block_row, weights_.passing(thread));
      }
      const T* xg = ahead() ? xg_ + (step.row - block_row) * panels_.row()
                            : offset(f_.xg, step.row * G * p_.hidden);
      const int64_t starting = max(batch.first, min(end, step.kept));
      if (batch.first < starting) {
        const S* h = f_.output + p_.steps[s - 1].row * p_.out;
        rows({batch.first, starting}, panels, s, h, xg);
      }
      if (starting < end) rows({starting, end}, panels, s, p_.h_0, xg);
      if (plan_.by_units) barrier_.wait(count);
      if (p_.weight_hr) {
        const Range own =
            plan_.by_units ? Range{mine.first, min(mine.last, end)} : Range{batch.first, end};
        project_state(own, step);
        if (plan_.by_units) barrier_.wait(count);
      }
      const int64_t go_on = s + 1 < p_.num_steps ? p_.steps[s + 1].kept : 0;
      const Range ended{max(mine.first, go_on), min(mine.last, end)};
      copy_rows(f_.output + step.row * p_.out, ended, p_.out, f_.h_n);
    }
  }

 private:
  int64_t step_products() const { return p_.batch * G * p_.hidden * p_.out; }
  bool in_lines() const {
    const auto address = reinterpret_cast<uintptr_t>(p_.weight_hh);
    return (p_.out * kElement) % kLineBytes == 0 && address % kLineBytes == 0;
  }
  bool packed() const { return plan_.weight_hh == Weights::kPacked; }
  bool as_scalars() const { return plan_.weight_hh == Weights::kAsScalars; }
  bool joined() const { return plan_.input == Input::kJoined; }
  bool ahead() const { return plan_.input == Input::kAhead; }

  // Makes the gates of all sequences for as many steps from s on as fit in a block; gives the step
  // after them. With one block, a panel of the weights is packed when it is used, or used as it lies.
  int64_t project(int64_t s, Range panels, int64_t& block_row, S* passing) {
    int64_t count = 0, in = f_.in, end = s;
    block_row = p_.steps[s].row;
    for (; end < p_.num_steps && count + p_.steps[end].size <= plan_.block_rows; ++end) {
      block_row = min(block_row, p_.steps[end].row);
      count += p_.steps[end].size;
    }
    const Summand<T, S> x{{f_.input + block_row * in, in}, f_.weight_ih, in, f_.bias_ih};
    for (int64_t p = panels.first; p < panels.last; ++p) {
      if (plan_.weight_ih != Weights::kPacked) {
        panels_.dots_of(p, count, &x, 1, plan_.asks(count),
                        Rows<T>{xg_ + p * V * W, panels_.row()});
        continue;
      }
      const bool asks = !passing && p + 1 < panels.last && weights_.asks(count, in);
      const S* next = asks ? weights_.input_panel(p + 1) : nullptr;
      const S* panel = passing ? weights_.pack_input(p, passing) : weights_.input_panel(p);
      with_constant<V>(panels_.width(p), [&](auto width) __attribute__((always_inline)) {
        multiply<width>(count, Left<S>{f_.input + block_row * in, in}, Panel<S>{panel, width * W},
                        in, weights_.bias_x(p), Rows<T>{xg_ + p * V * W, panels_.row()},
                        kNothingSoon, next);
      });
    }
    return end;
  }

  // A step for some sequences; h and xg have a row for each, from the first of all on. Every other
  // step takes the panels in reverse, so that the first ones are still in the cache.
  void rows(Range batch, Range panels, int64_t s, const S* h, const T* xg) {
    const bool reverse = s & 1;
    const int64_t H = p_.hidden, b = batch.first, row = p_.steps[s].row + b;
    const int64_t xg_row = f_.xg ? G * H : panels_.row();
    const Place<T, S> place{
        h + b * p_.out,
        offset(f_.input, row * f_.in),
        offset(xg, b * xg_row),
        offset(f_.c_n, b * H),
        offset<T>(state_, b * H),
        p_.weight_hr ? projected_ + b * H / kValues<S> : f_.output + row * p_.out,
        offset(f_.cells, row * H),
        offset(f_.tape, row * Cell::kTape * H)};
    const int64_t n = batch.last - b, count = panels.last - panels.first;
    const bool asks = ahead() && packed() && weights_.asks(n, p_.out);
    const NextStep later =
        joined() ? next_step(f_, s, batch, count, (f_.in + p_.out) * V * W * kElement) : NextStep{};
    if constexpr (kAmx) {
      if (packed() && n > kRegisterRows) return panels_beside(panels, reverse, n, place, later);
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t p = nth(panels, i, reverse);
      if (as_scalars()) {
        scalar_panel(p, n, place);
      } else if (!packed()) {
        vector_panel(p, n, place);
      } else {
        const bool more = i + 1 < count;
        packed_panel(p, n, place,
                     asks && more ? weights_.state_panel(nth(panels, i + 1, reverse)) : nullptr,
                     later, i);
      }
    }
  }

  // All panels on AMX, the cell of a tile beside the products of the next (forward_beside-inl.h).
  void panels_beside(Range panels, bool reverse, int64_t n, const Place<T, S>& place,
                     const NextStep& later);

  void project_state(Range batch, const Step& step) {
    if (batch.first >= batch.last) return;
    projection_.multiply_all(batch.last - batch.first,
                             projected_ + batch.first * p_.hidden / kValues<S>, {nullptr, 0},
                             f_.output + (step.row + batch.first) * p_.out);
  }

  // Its tiles ask for `next`, the panel of weight_hh that comes then, or where that is null for what `later` says
  // of the i-th panel.
  void packed_panel(int64_t p, int64_t n, const Place<T, S>& place, const S* next,
                    const NextStep& later, int64_t i) {
    constexpr int64_t kRows = kCellRows<Cell> - 1 + kTileRows<V>;
    static_assert(holds_tiles(V));
    alignas(64) T sums[kRows * V * W + W], inputs[kRows * V * W + W];
    const int64_t width = panels_.width(p), row = width * W;
    const S *w_x = weights_.input_panel(p), *w_h = weights_.state_panel(p);
    const bool adds_up = weights_.adds_up();
    const void* at[kMaxRows * kSoonRows];
    if (n < kFewRows && !joined() && !adds_up) {
      const Term<S> h{{place.h, p_.out}, {w_h, row}, p_.out};
      const Soon soon = written_rows(panels_, p, 0, n, place, at);
      with_constant<V>(width, [&](auto width) __attribute__((always_inline)) {
        tile<width>(static_cast<int>(n), &h, 1, weights_.bias_r(p), {sums, row}, soon);
      });
      const Gates<T> recurrent = panels_.gates(p, sums, row);
      return apply_cell(panels_, p, 0, n, x_part(p, 0, place), recurrent, place);
    }
    int64_t first = 0;  // of the rows that are waiting for the cell
    for_tiles(tile_rows(width), n, [&](int64_t r, int count) __attribute__((always_inline)) {
      if (!next) later.ask(i, r, count);
      const Term<S> terms[] = {{{offset(place.x, r * f_.in), f_.in}, {w_x, row}, f_.in},
                               {{place.h + r * p_.out, p_.out}, {w_h, row}, p_.out}};
      const Rows<T> out{sums + (r - first) * row, row}, of_x{inputs + (r - first) * row, row};
      const Soon soon = written_rows(panels_, p, r, count, place, at);
      const Rows<const T> start = adds_up && ahead() ? xg_rows(p, r, place) : weights_.bias_r(p);
      with_constant<V>(width, [&](auto width) __attribute__((always_inline)) {
        if (joined() && !adds_up) tile<width>(count, terms, 1, weights_.bias_x(p), of_x, Soon{});
        const int num_terms = joined() && adds_up ? 2 : 1;
        tile<width>(count, terms + 2 - num_terms, num_terms, start, out,
                    with_part_of<S>(next, p_.out * row, p_.out, r, count, n, soon));
      });
      const int64_t waiting = r + count - first;
      if (waiting < kCellRows<Cell> && r + count < n) return;
      const Gates<T> recurrent = panels_.gates(p, sums, row);
      if (adds_up) {
        apply_cell(panels_, p, first, waiting, Gates<T>{}, recurrent, place);
      } else {
        const Gates<T> x = x_gates(p, first, inputs, row, place);
        apply_cell(panels_, p, first, waiting, x, recurrent, place);
      }
      first += waiting;
    });
  }

  void scalar_panel(int64_t p, int64_t n, const Place<T, S>& place) {
    constexpr int64_t kRows = RightMatrix<S>::kColumns;
    alignas(64) T sums[kRows * V * W], inputs[kRows * V * W];
    for (int64_t b = 0, r = 0; r < n; ++b, r += kRows) {
      const int64_t count = min(kRows, n - r);
      const bool asks = b == 0 && plan_.asks(n);
      panels_.scalars_of(p, count, columns_h_, b, p_.weight_hh, p_.out, f_.bias_hh, asks,
                         {sums, V * W});
      if (joined()) {
        panels_.scalars_of(p, count, columns_x_, b, f_.weight_ih, f_.in, f_.bias_ih, asks,
                           {inputs, V * W});
      }
      const Gates<T> x = x_gates(p, r, inputs, V * W, place);
      apply_cell(panels_, p, r, count, x, panels_.gates(p, sums, V * W), place);
    }
  }

  // No step has more than kMostFewRows.
  void vector_panel(int64_t p, int64_t n, const Place<T, S>& place) {
    alignas(64) T sums[kMostFewRows * V * W], inputs[kMostFewRows * V * W];
    const Rows<T> of_h{sums, V * W}, of_x{inputs, V * W};
    const Summand<T, S> summands[] = {{{place.h, p_.out}, p_.weight_hh, p_.out, f_.bias_hh},
                                      {{place.x, f_.in}, f_.weight_ih, f_.in, f_.bias_ih}};
    const bool adds_up = Cell::kSameGates && joined();
    panels_.dots_of(p, n, summands, adds_up ? 2 : 1, plan_.asks(n), of_h);
    if (joined() && !adds_up) panels_.dots_of(p, n, summands + 1, 1, plan_.asks(n), of_x);
    const Gates<T> x = adds_up ? Gates<T>{} : x_gates(p, 0, inputs, V * W, place);
    apply_cell(panels_, p, 0, n, x, panels_.gates(p, sums, V * W), place);
  }

  // What was made of the input before, as rows of a panel and as gates.
  FR_FN Rows<const T> xg_rows(int64_t p, int64_t r, const Place<T, S>& place) const {
    return {place.xg + r * panels_.row() + p * V * W, panels_.row()};
  }
  Gates<T> x_part(int64_t p, int64_t r, const Place<T, S>& place) const {
    const int64_t H = p_.hidden, row = panels_.row();
    if (!f_.xg) return panels_.gates(p, xg_rows(p, r, place).data, row);
    return {place.xg + r * G * H + panels_.first_unit(p), H, W, G * H};
  }

  // The input's gates of rows from r on: `made` in their tiles, in rows so far apart, or before.
  FR_FN Gates<T> x_gates(int64_t p, int64_t r, const T* made, int64_t row,
                         const Place<T, S>& place) const {
    return joined() ? panels_.gates(p, made, row) : x_part(p, r, place);
  }

  const Forward<T, S>& f_;
  const Problem<T, S>& p_;
  const Panels panels_;
  const ForwardPlan plan_;
  ForwardWeights<Cell, T, S> weights_;
  RightMatrix<S> projection_;             // weight_hr
  Buffer<S> projected_;                   // [batch][hidden], h before the projection
  Buffer<T> state_;                       // [batch][hidden], if kept apart from the output
  Buffer<T> xg_;                          // [plan.block_rows][panels][V][W]
  RightMatrix<S> columns_x_, columns_h_;  // input and h_0, where the weights are used as scalars
  Barrier barrier_;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
