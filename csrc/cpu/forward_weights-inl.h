// The weights and biases of a pass forward, as its tiles read them: packed before the call, or in it.
#pragma once
#include "cpu/gate_panels-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

template <class Cell, class T, class S>
class ForwardWeights {
  using Panels = GatePanels<Cell, T>;
  static constexpr int W = Panels::W, V = Panels::V;

 public:
  ForwardWeights(const Forward<T, S>& args, const Panels& panels, const ForwardPlan& plan)
      : f_(args),
        out_(args.problem.out),
        panels_(panels),
        adds_up_(plan.weight_hh == Weights::kPacked && plan.one_sum),
        packs_ih_(plan.weight_ih == Weights::kPacked && plan.input != Input::kGiven &&
                  !args.packed_ih),
        packs_hh_(plan.weight_hh == Weights::kPacked && !args.packed_hh),
        in_passing_(packs_ih_ && plan.one_block),
        packed_in_(packs_ih_ && !in_passing_ ? to_depth<S>(args.in) : 0),
        panel_(Panels::stride(packed_in_ + (packs_hh_ ? to_depth<S>(out_) : 0))),
        packed_(panels.count() * panel_),
        bias_(plan.weight_ih == Weights::kPacked ? 2 * panels.row() : 0) {}

  // Where weights are packed in passing, a panel of weight_ih for each thread of a team of `count`.
  void allocate(int count) {
    if (in_passing_) passing_.allocate(count * input_stride());
  }
  S* passing(int thread) { return offset<S>(passing_, thread * input_stride()); }

  void pack(Range panels) {
    for (int64_t p = panels.first; p < panels.last; ++p) {
      if (bias_) pack_bias(p);
      if (packed_in_) panels_.pack(p, f_.weight_ih, f_.in, packed_ + p * panel_);
      if (packs_hh_)
        panels_.pack(p, f_.problem.weight_hh, out_, packed_ + p * panel_ + state_at(p));
    }
  }

  // From a panel of weight_ih to the next, where it is alone.
  FR_FN int64_t input_stride() const { return Panels::stride(to_depth<S>(f_.in)); }
  FR_FN const S* input_panel(int64_t p) const {
    return f_.packed_ih ? f_.packed_ih + p * input_stride() : packed_ + p * panel_;
  }
  // The same where it is packed when it is used, once.
  const S* pack_input(int64_t p, S* panel) const {
    panels_.pack(p, f_.weight_ih, f_.in, panel);
    return panel;
  }
  FR_FN const S* state_panel(int64_t p) const {
    return f_.packed_hh ? f_.packed_hh + p * Panels::stride(out_)
                        : packed_ + p * panel_ + state_at(p);
  }

  // Whether tiles of so many rows ask for the next panel of a weight [..][k].
  bool asks(int64_t rows, int64_t k) const {
    const int64_t bytes = panels_.row() * k * static_cast<int64_t>(sizeof(S));
    return asks_for_next_panel(f_.problem.threads, rows, bytes);
  }

  // Whether the sum of the input's gates and the state's is all that a cell needs: then tiles add them up.
  FR_FN bool adds_up() const { return Cell::kSameGates && adds_up_; }
  // The input's bias and the state's; their sum in that which comes first where they add up.
  FR_FN Rows<const T> bias_x(int64_t p) const { return {bias_ + p * V * W, 0}; }
  FR_FN Rows<const T> bias_r(int64_t p) const { return {bias_ + panels_.row() + p * V * W, 0}; }

 private:
  void pack_bias(int64_t p) {
    const T* x = f_.xg ? nullptr : f_.bias_ih;
    panels_.pack_bias(p, x, adds_up() ? f_.bias_hh : nullptr, bias_ + p * V * W);
    panels_.pack_bias(p, f_.bias_hh, adds_up() ? x : nullptr, bias_ + panels_.row() + p * V * W);
  }
  FR_FN int64_t state_at(int64_t p) const { return packed_in_ * panels_.width(p) * W; }

  const Forward<T, S>& f_;
  const int64_t out_;
  const Panels& panels_;
  const bool adds_up_, packs_ih_, packs_hh_;  // packs: this call does
  const bool in_passing_;                     // weight_ih a panel at a time, when it is used
  const int64_t packed_in_, panel_;
  Buffer<S> passing_;  // [threads][depth of in][V][W]
  Buffer<S> packed_;   // [panels]([packed_in][V][W], then [out][V][W]), if this call packs
  Buffer<T> bias_;     // [2][panels][V][W]
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
