// What the next step reads of the input and writes of the output, asked for by the tiles of this one: else the
// first tiles of a step wait for L3.
#pragma once
#include "cpu/regime-inl.h"

namespace fused_rnn::cpu::FUSED_RNN_ISA {

struct Piece {  // of memory
  const char* at = nullptr;
  int64_t bytes = 0;
};
template <class T>
FR_FN Piece rows_of(const T* matrix, int64_t width, int64_t first, int64_t last) {
  const int64_t bytes = max(0, last - first) * width * static_cast<int64_t>(sizeof(T));
  return {reinterpret_cast<const char*>(matrix + first * width), bytes};
}

class NextStep {
  // What the L1 cache has room for comes by itself. And what is asked for must still be in the L2 cache when the
  // next step begins: so only the last panels of a step ask, of so many bytes of weights.
  static constexpr int64_t kL1Bytes = 32 * 1024, kPassingBytes = 256 * 1024;

 public:
  // For a step of so many panels, the bytes of one, and the tiles that each takes.
  NextStep(Piece input, Piece output, int64_t panels, int64_t panel_bytes, int64_t tiles)
      : pieces_{input, output} {
    const int64_t bytes = input.bytes + output.bytes;
    if (bytes < kL1Bytes) return;
    const int64_t asking = min(panels, max(1, kPassingBytes / panel_bytes));
    first_ = panels - asking;
    part_ = ceil_div(bytes, asking * tiles * kLineBytes) * kLineBytes;
  }

  // The part of a tile of the i-th panel.
  FR_FN void ask(int64_t i) {
    if (i < first_) return;
    int64_t left = part_;
    for (Piece& piece : pieces_) {
      const int64_t n = min(left, piece.bytes);
      prefetch(piece.at, n);
      piece = {piece.at + n, piece.bytes - n};
      left -= n;
    }
  }

 private:
  Piece pieces_[2];
  int64_t first_ = 0, part_ = 0;
};

}  // namespace fused_rnn::cpu::FUSED_RNN_ISA
