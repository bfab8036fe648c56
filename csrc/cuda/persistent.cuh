// What the persistent kernels share. A block has weight_hh in shared memory and takes `rows`
// sequences through all steps. Thread unit * slices + slice adds up every slices-th term of the dot
// products of that unit, for all rows; reduce() leaves the sums of row `slice` with the first `rows`
// lanes of a unit, which own that (sequence, unit) and keep its state in registers.
#pragma once
#include "cuda/plan.h"
#include "cuda/units.cuh"

namespace fused_rnn::cuda {

template <int rows>
struct Lane {
  int unit, slice;
  int64_t sequence;
  bool works;   // has a unit: the last warp may have lanes without
  bool owns;    // has a sequence's unit
  bool exists;  // and that sequence is one: the last block may have fewer

  FR_DEVICE Lane(int64_t hidden, int64_t batch, int slices)
      : unit(threadIdx.x / slices),
        slice(threadIdx.x % slices),
        sequence(int64_t(blockIdx.x) * rows + slice),
        works(unit < hidden),
        owns(works && slice < rows),
        exists(owns && sequence < batch) {}
};

// sums[o][r] += the terms of this slice of numbers[depth][rows] times weights[depth][pitch], of
// which the outputs are `stride` apart.
template <int outputs, int rows, class S, class T>
FR_DEVICE void dot(const S* weights, int pitch, int stride, const T* numbers, int depth, int slice,
                   int slices, T (&sums)[outputs][rows]) {
#pragma unroll 4
  for (int k = slice; k < depth; k += slices) {
    T number[rows];
    load_pack<rows>(numbers + k * rows, number);
#pragma unroll
    for (int o = 0; o < outputs; ++o) {
      const T weight = widen(weights[k * pitch + o * stride]);
#pragma unroll
      for (int r = 0; r < rows; ++r) sums[o][r] += weight * number[r];
    }
  }
}

// Adds up over the slices of a unit; sums[o][0] is then the sum of row slice % rows. First each lane
// hands half of its rows to a neighbour and takes the other half of the neighbour's, until one row
// is left; then lanes of the same row add theirs. Every lane of the warp must come here.
template <int outputs, int rows, class T>
FR_DEVICE void reduce(T (&sums)[outputs][rows], int slice, int slices) {
#pragma unroll
  for (int half = rows / 2; half > 0; half /= 2) {
    const bool upper = slice & half;
#pragma unroll
    for (int o = 0; o < outputs; ++o) {
#pragma unroll
      for (int r = 0; r < half; ++r) {
        const T given = upper ? sums[o][r] : sums[o][r + half];
        const T taken = upper ? sums[o][r + half] : sums[o][r];
        sums[o][r] = taken + __shfl_xor_sync(kAllLanes, given, half);
      }
    }
  }
  for (int lanes = rows; lanes < slices; lanes *= 2) {
#pragma unroll
    for (int o = 0; o < outputs; ++o) sums[o][0] += __shfl_xor_sync(kAllLanes, sums[o][0], lanes);
  }
}

}  // namespace fused_rnn::cuda
