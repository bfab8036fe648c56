// The tiles of a step ask together for all of the next step's input and output, or for as much as the L2 cache
// has room for, each byte once and no other, however rows are dealt to tiles; and for nothing of a step that
// has no such sequences.
#include "cpu/before_target.h"
#define FUSED_RNN_ISA generic
#define FUSED_RNN_VECTOR_BYTES 16
#include <cstdio>
#include <vector>

#include "cpu/next_step-inl.h"

namespace {

using namespace fused_rnn;
using namespace fused_rnn::cpu;
using namespace fused_rnn::cpu::generic;

int failures = 0;

void expect(bool holds, const char* what, int64_t rows, int64_t panels, int64_t panel_bytes) {
  if (holds) return;
  ++failures;
  std::printf("%s: %d rows, %d panels of %d bytes\n", what, int(rows), int(panels),
              int(panel_bytes));
}

void check(Piece input, Piece output, int64_t rows, int64_t panels, int64_t panel_bytes) {
  const NextStep next(input, output, rows, panels, panel_bytes);
  const bool asks = input.bytes + output.bytes >= kWorthAskingBytes;
  for (const int64_t most : {1, 5, 8}) {
    const Piece pieces[] = {input, output};
    for (int k = 0; k < 2; ++k) {
      const int64_t wanted = asks ? min(pieces[k].bytes, kMostBytes) : 0;
      int64_t asked = 0, early = 0;
      for (int64_t i = 0; i < panels; ++i) {
        for (int64_t r = 0; r < rows; r += most) {
          const Piece part = next.part(k, i, r, min(most, rows - r));
          const bool follows = part.bytes == 0 || part.at == pieces[k].at + asked;
          expect(follows, "gap", rows, panels, panel_bytes);
          asked += part.bytes;
          if ((panels - i) * panel_bytes > kPassingBytes && i + 1 < panels) early += part.bytes;
        }
      }
      expect(asked == wanted, "not all", rows, panels, panel_bytes);
      expect(early == 0, "too early", rows, panels, panel_bytes);
    }
  }
}

template <class T>
void check_ragged() {
  constexpr int64_t kIn = 300, kOut = 200;
  const Step steps[] = {
      {0, 32, 0}, {32, 32, 32}, {64, 4, 4}, {32, 32, 4}};  // the last is not one of them
  const std::vector<T> input(68 * kIn), output(68 * kOut);
  Forward<T> f{};
  f.problem.steps = steps, f.problem.num_steps = 3, f.problem.out = kOut;
  f.input = input.data(), f.in = kIn, f.output = const_cast<T*>(output.data());
  const auto bytes = [&](int64_t s, Range batch) {
    int64_t sum = 0;
    const NextStep next = next_step(f, s, batch, 1, 1);
    for (int k = 0; k < 2; ++k) sum += next.part(k, 0, 0, batch.last - batch.first).bytes;
    return sum;
  };
  const int64_t row = (kIn + kOut) * sizeof(T);
  const int64_t half =
      16 * row < kWorthAskingBytes ? 0 : 16 * row;  // of float it is not worth asking
  expect(bytes(0, {16, 32}) == half, "second half", 16, 1, 1);
  expect(bytes(0, {0, 32}) == 32 * row, "whole step", 32, 1, 1);
  expect(bytes(1, {16, 32}) == 0, "sequences that have ended", 16, 1, 1);
  expect(bytes(2, {0, 32}) == 0, "after the last step", 32, 1, 1);
  f.tape = f.output;
  expect(bytes(0, {0, 32}) == 32 * kIn * int64_t{sizeof(T)}, "with a tape", 32, 1, 1);
}

}  // namespace

int main() {
  static char memory[1 << 20];
  for (const int64_t rows : {1, 3, 17, 32, 256}) {
    for (const int64_t panels : {1, 2, 9, 33}) {
      for (const int64_t panel_bytes : {4 * 1024, 64 * 1024, 1024 * 1024}) {
        for (const int64_t bytes : {0, 1000, 20'001, 131'072, 400'000}) {
          check({memory, bytes}, {memory + 500'000, bytes / 2}, rows, panels, panel_bytes);
          check({memory, bytes}, {}, rows, panels, panel_bytes);
        }
      }
    }
  }
  check_ragged<float>();
  check_ragged<double>();
  return failures != 0;
}
