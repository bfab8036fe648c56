// One thread writes and another reads: what makes that an order, and what does not. No schedule
// shows these bugs in the numbers; the race detector must.
#include "emulator/litmus/case.h"

namespace {

using namespace emulator;

// Message passing from block 0 to block 1, thread 0 of each.
struct Message {
  bool fence_first, writer_fence, release, acquire, reader_fence;
};
__global__ void message(Message m, float* data, unsigned* flag, float* out) {
  if (threadIdx.x == 0 && blockIdx.x == 0) {
    if (m.fence_first) __threadfence();
    *data = 42;  // @message.write
    if (m.writer_fence) __threadfence();
    m.release ? red_add_release(flag, 1) : red_add_relaxed(flag, 1);
  }
  if (threadIdx.x == 0 && blockIdx.x == 1) {
    while ((m.acquire ? ld_acquire(flag) : ld_relaxed(flag)) == 0) {  // @message.poll
    }
    if (m.reader_fence) __threadfence();
    *out = *data;  // @message.read
  }
}

void send(Message m) {
  float data = 0, out = 0;
  unsigned flag = 0;
  launch_cooperative(message, 2, 32, 0, nullptr, m, &data, &flag, &out);
  expect(out == 42, "wrong numbers");
}

__global__ void volatile_spin(bool good, float* data, volatile unsigned* flag, float* out) {
  if (blockIdx.x == 0) {
    *data = 42;  // @volatile_spin.write
    if (good) __threadfence();
    *flag = 1;
  } else {
    while (*flag == 0) {
    }
    if (good) __threadfence();
    *out = *data;  // @volatile_spin.read
  }
}

void spin(bool good) {
  float data = 0, out = 0;
  unsigned flag = 0;
  launch_cooperative(volatile_spin, 2, 1, 0, nullptr, good, &data, &flag, &out);
}

__global__ void grid_barrier(unsigned* arrived) {
  __syncthreads();
  if (threadIdx.x == 0) {
    red_add_release(arrived, 1);
    while (ld_acquire(arrived) < gridDim.x) {  // @grid_barrier.poll
    }
  }
  __syncthreads();  // @grid_barrier.wait
}

enum class Sync { none, shuffle, warp, block };
__global__ void neighbours(Sync sync, float* out) {
  SharedArena arena;
  float* x = arena.take<float>(32);
  x[threadIdx.x] = threadIdx.x;  // @neighbours.write
  if (sync == Sync::shuffle) __shfl_sync(0xFFFFFFFFu, 1, 0);
  if (sync == Sync::warp) __syncwarp();
  if (sync == Sync::block) __syncthreads();
  out[threadIdx.x] = x[31 - threadIdx.x];  // @neighbours.read
}

void exchange(Sync sync) {
  float out[32];
  launch(neighbours, 1, 32, 32 * sizeof(float), nullptr, sync, out);
}

__global__ void overwritten(bool good, float* data, float* out) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = data[0];  // @overwritten.read
  if (good) __syncthreads();
  if (threadIdx.x == 1) data[0] = 1;  // @overwritten.write
}

// The first to read is, in one order, the thread that writes: others must not be forgotten.
__global__ void overwritten_after_shuffle(float* data, float* out) {
  out[threadIdx.x] = data[0];  // @after_shuffle.read
  __shfl_sync(0xFFFFFFFFu, 1, 0);
  if (threadIdx.x == 0) data[0] = 1;  // @after_shuffle.write
}

void overwrite_after_shuffle() {
  std::vector<float> data(1), out(32);
  launch(overwritten_after_shuffle, 1, 32, 0, nullptr, data.data(), out.data());
}

// A barrier orders what came before it, not what comes after, whoever leaves it first.
__global__ void between_barriers(bool good, float* data, float* out) {
  __syncthreads();
  if (threadIdx.x == 0) *data = 1;  // @between.write
  if (good) __syncthreads();
  if (threadIdx.x == 1) *out = *data;  // @between.read
  __syncthreads();
}

void meet(bool good) {
  float data = 0, out = 0;
  launch(between_barriers, 1, 64, 0, nullptr, good, &data, &out);
}

void overwrite(bool good, unsigned blocks) {
  std::vector<float> data(1), out(blocks * 32);
  launch(overwritten, blocks, 32, 0, nullptr, good, data.data(), out.data());
}

__global__ void count(bool good, int* counter) {
  if (good) {
    atomicAdd(counter, 1);
  } else {
    *counter += 1;  // @count
  }
}

void count_threads(bool good) {
  int counter = 0;
  launch(count, 3, 64, 0, nullptr, good, &counter);
  expect(counter == 3 * 64, "wrong numbers");
}

// Not a bug: shows in which order the threads came.
__global__ void queue(unsigned* place, unsigned* order) {
  order[atomicAdd(place, 1u)] = threadIdx.x;
}

void show_order() {
  unsigned place = 0, order[16];
  launch(queue, 1, 16, 0, nullptr, &place, order);
  std::string text = "order:";
  for (unsigned thread : order) text += " " + std::to_string(thread);
  throw Error(text);
}

void launch_grid_barrier(bool cooperative) {
  unsigned arrived = 0;
  cooperative ? launch_cooperative(grid_barrier, 4, 64, 0, nullptr, &arrived)
              : launch(grid_barrier, 4, 64, 0, nullptr, &arrived);
}

}  // namespace

extern const std::vector<Case> ordering_cases = {
    {"good_fences", [] { send({.writer_fence = true, .reader_fence = true}); }},
    {"good_release_acquire", [] { send({.release = true, .acquire = true}); }},
    {"good_release_fence", [] { send({.release = true, .reader_fence = true}); }},
    {"no_release", [] { send({.acquire = true}); }},
    {"no_acquire", [] { send({.release = true}); }},
    {"no_writer_fence", [] { send({.reader_fence = true}); }},
    {"no_reader_fence", [] { send({.writer_fence = true}); }},
    {"fence_on_wrong_side", [] { send({.fence_first = true, .reader_fence = true}); }},
    {"volatile_spin", [] { spin(false); }},
    {"good_volatile_spin", [] { spin(true); }},
    {"ordinary_launch", [] { launch_grid_barrier(false); }},
    {"good_cooperative_launch", [] { launch_grid_barrier(true); }},
    {"no_barrier", [] { exchange(Sync::none); }},
    {"shuffle_for_barrier", [] { exchange(Sync::shuffle); }},
    {"good_syncwarp", [] { exchange(Sync::warp); }},
    {"good_syncthreads", [] { exchange(Sync::block); }},
    {"overwritten", [] { overwrite(false, 1); }},
    {"good_overwritten", [] { overwrite(true, 1); }},
    {"overwritten_by_other_block", [] { overwrite(true, 2); }},
    {"overwritten_after_shuffle", overwrite_after_shuffle},
    {"between_barriers", [] { meet(false); }},
    {"good_third_barrier", [] { meet(true); }},
    {"lost_update", [] { count_threads(false); }},
    {"good_atomic", [] { count_threads(true); }},
    {"show_order", show_order},
};
