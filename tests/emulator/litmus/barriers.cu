// Threads that wait for threads that do not come, and lanes that exchange values.
#include "emulator/litmus/case.h"

namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;

__global__ void overlapping_masks() {
  if (threadIdx.x == 0) __syncwarp(0b011);  // @overlap.first
  if (threadIdx.x == 1) __syncwarp(0b110);  // @overlap.second
  if (threadIdx.x == 2) __syncwarp(0b101);
}

__global__ void divergent_barrier(bool good) {
  if (threadIdx.x < 32 && !good) {
    __syncthreads();  // @divergent.then
  } else {
    __syncthreads();  // @divergent.else
  }
}

__global__ void early_exit(unsigned threads) {
  if (threadIdx.x >= threads) return;
  __syncthreads();  // @early_exit
}

__global__ void early_exit_of_lane(unsigned lanes) {
  if (threadIdx.x < lanes) __shfl_sync(kAll, 1, 0);  // @early_exit_of_lane
}

__global__ void sum_of_lanes(int* sum) {
  int value = 1;
  for (int bits = 16; bits; bits /= 2)
    value += __shfl_xor_sync(kAll, value, bits);  // @sum_of_lanes
  sum[threadIdx.x] = value;
}

__global__ void count_lanes(unsigned mask) { __ballot_sync(mask, 1); }  // @count_lanes

__global__ void lane_missing() {
  if (threadIdx.x != 5) __shfl_sync(kAll, 1, 0);  // @lane_missing.shuffle
  __syncthreads();                                // @lane_missing.barrier
}

__global__ void divergent_shuffle() {
  if (threadIdx.x % 2) {
    __shfl_sync(kAll, 1, 0);  // @divergent_shuffle.odd
  } else {
    __ballot_sync(kAll, 1);  // @divergent_shuffle.even
  }
}

__global__ void outside_width() { __shfl_sync(kAll, 1, 32); }  // @outside_width

__global__ void other_collectives(unsigned* ballots, int* shifted) {
  ballots[threadIdx.x] = __ballot_sync(kAll, threadIdx.x % 3 == 0);
  shifted[threadIdx.x] = __shfl_down_sync(kAll, int(threadIdx.x), 3, 8);
}

void check_sum() {
  int sum[32] = {};
  launch(sum_of_lanes, 1, 32, 0, nullptr, sum);
  for (int value : sum) expect(value == 32, "wrong numbers");
}

void check_collectives() {
  unsigned ballots[32];
  int shifted[32];
  launch(other_collectives, 1, 32, 0, nullptr, ballots, shifted);
  for (int lane = 0; lane < 32; ++lane) {
    expect(ballots[lane] == 0x49249249u, "wrong ballot");
    expect(shifted[lane] == (lane % 8 < 5 ? lane + 3 : lane), "wrong lane");
  }
}

}  // namespace

extern const std::vector<Case> barrier_cases = {
    {"overlapping_masks", [] { launch(overlapping_masks, 1, 32, 0, nullptr); }},
    {"divergent_barrier", [] { launch(divergent_barrier, 2, 64, 0, nullptr, false); }},
    {"good_barrier", [] { launch(divergent_barrier, 2, 64, 0, nullptr, true); }},
    {"early_exit", [] { launch(early_exit, 2, 64, 0, nullptr, 60u); }},
    {"good_exit", [] { launch(early_exit, 2, 64, 0, nullptr, 64u); }},
    {"early_exit_of_lane", [] { launch(early_exit_of_lane, 1, 32, 0, nullptr, 31u); }},
    {"mask_without_caller", [] { launch(count_lanes, 1, 32, 0, nullptr, 0xFFFFu); }},
    {"good_mask", [] { check_sum(); }},
    {"lane_missing", [] { launch(lane_missing, 1, 32, 0, nullptr); }},
    {"lane_absent",
     [] {
       int sum[8];
       launch(sum_of_lanes, 1, 8, 0, nullptr, sum);
     }},
    {"divergent_shuffle", [] { launch(divergent_shuffle, 1, 32, 0, nullptr); }},
    {"outside_width", [] { launch(outside_width, 1, 32, 0, nullptr); }},
    {"good_collectives", check_collectives},
};
