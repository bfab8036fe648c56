// What the next step reads of the input and writes of the output, asked for by the tiles of this one: else its
// first tiles wait for L3.
#pragma once
#include "cpu/regime-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

struct Piece {  // of memory
  const char* at = nullptr;
  int64_t bytes = 0;
};

class NextStep {
 public:
  NextStep() = default;  // nothing
  // What it reads and writes, after a step of so many rows that takes so many panels, each of so many bytes.
  NextStep(Piece input, Piece output, int64_t rows, int64_t panels, int64_t panel_bytes)
      : pieces_{input, output} {
    if (input.bytes + output.bytes < kWorthAskingBytes) return;
    const int64_t asking = min(panels, max(1, kPassingBytes / panel_bytes));
    first_ = panels - asking;
    rows_ = rows;
    for (int k = 0; k < 2; ++k) {
      pieces_[k].bytes = min(pieces_[k].bytes, kMostBytes);
      per_row_[k] = ceil_div(pieces_[k].bytes, asking * rows);
    }
  }

  // The part of piece k that belongs to rows [r, r + count) of the i-th panel.
  FR_FN Piece part(int k, int64_t i, int64_t r, int64_t count) const {
    if (i < first_) return {};
    const int64_t row = (i - first_) * rows_ + r, bytes = pieces_[k].bytes;
    const int64_t begin = min(row * per_row_[k], bytes),
                  end = min((row + count) * per_row_[k], bytes);
    return {pieces_[k].at + begin, end - begin};
  }

  FR_FN void ask(int64_t i, int64_t r, int64_t count) const {
    for (int k = 0; k < 2; ++k) {
      const Piece piece = part(k, i, r, count);
      prefetch(piece.at, piece.bytes);
    }
  }

 private:
  Piece pieces_[2];
  int64_t first_ = INT64_MAX, rows_ = 0, per_row_[2] = {};  // first_: of the panels that ask
};

// The step after s, of the sequences of `batch`, in a step that takes so many panels. With a tape tiles ask for
// what they leave themselves (written_rows).
template <class T, class S>
NextStep next_step(const Forward<T, S>& f, int64_t s, Range batch, int64_t panels,
                   int64_t panel_bytes) {
  const Problem<T, S>& p = f.problem;
  if (s + 1 == p.num_steps) return {};
  const Step& next = p.steps[s + 1];
  const int64_t count = min(batch.last, next.size) - batch.first;
  if (count <= 0) return {};
  const auto piece = [&](const S* from, int64_t width) {
    return Piece{reinterpret_cast<const char*>(from + (next.row + batch.first) * width),
                 count * width * static_cast<int64_t>(sizeof(S))};
  };
  return {piece(f.input, f.in), f.tape ? Piece{} : piece(f.output, p.out), batch.last - batch.first,
          panels, panel_bytes};
}

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
