// Shared arrays, vector accesses, asynchronous copies, and what a launch refuses.
#include "emulator/litmus/case.h"

namespace {

using namespace emulator;

__global__ void uninitialised(bool good, float* out) {
  SharedArena arena;
  float* x = arena.take<float>(32);
  if (good) x[threadIdx.x] = 1;
  out[blockIdx.x * 32 + threadIdx.x] = x[threadIdx.x];  // @uninitialised
}

void read_shared(bool good) {
  float out[3 * 32];
  launch(uninitialised, 3, 32, 32 * sizeof(float), nullptr, good, out);
  for (float value : out) expect(!std::isnan(value), "not a number");
}

// The launch gives enough for both arrays: the sum is right, one index is not.
__global__ void two_arrays(int last, float* out) {
  SharedArena arena;
  float* first = arena.take<float>(8);
  float* second = arena.take<float>(8);
  for (int i = 0; i < 8; ++i) second[i] = 2;
  for (int i = 0; i <= last; ++i) first[i] = 1;  // @two_arrays
  for (int i = 0; i < 8; ++i) out[i] = first[i] + second[i];
}

void overrun(int last) {
  float out[8];
  launch(two_arrays, 1, 1, 16 * sizeof(float), nullptr, last, out);
}

__global__ void greedy(size_t count) {
  SharedArena arena;
  arena.take<double>(count);  // @greedy
}

__global__ void disagreeing(bool good) {
  SharedArena arena;
  arena.take<float>(good ? 4 : 4 + threadIdx.x);  // @disagreeing
}

__global__ void vectors(int offset, float* x, float* out) {
  check_aligned(x + offset, 16);  // @vectors
  const float4 four = *reinterpret_cast<const float4*>(x + offset);
  *out = four.x + four.w;
}

__global__ void unchecked_vectors(float* x, float* out) {
  const float4 four = *reinterpret_cast<const float4*>(x + 1);  // @unchecked_vectors
  *out = four.x + four.w;
}

alignas(16) float elements[8] = {1, 1, 1, 1, 1, 1, 1, 1};
float element;

__global__ void misaligned_copy() {
  SharedArena arena;
  cp_async(arena.take<float>(8), elements + 2, 16);  // @misaligned_copy
  cp_async_commit();
  cp_async_wait(0);
}

// Each thread's copies in two buffers; `pending` 1 is right, 2 comes too early.
__global__ void double_buffer(const float* from, float* out, int count, unsigned pending) {
  SharedArena arena;
  float* buffer = arena.take<float>(2 * 32);
  const int lane = threadIdx.x;
  cp_async(buffer + lane, from + lane, 4);
  cp_async_commit();
  float sum = 0;
  for (int i = 0; i < count; ++i) {
    const int next = i + 1;
    if (next < count) cp_async(buffer + next % 2 * 32 + lane, from + next * 32 + lane, 4);
    cp_async_commit();
    cp_async_wait(pending);
    __syncwarp();
    sum += buffer[i % 2 * 32 + 31 - lane];  // @double_buffer.read
    __syncwarp();
  }
  cp_async_wait(0);
  out[lane] = sum;
}

void copy_in_turns(unsigned pending) {
  std::vector<float> from(6 * 32, 1.f), out(32);
  launch(double_buffer, 1, 32, 64 * sizeof(float), nullptr, from.data(), out.data(), 6, pending);
  for (float sum : out) expect(sum == 6, "wrong numbers");
}

__global__ void copies(bool commit, bool wait, bool barrier, const float* from, float* out) {
  SharedArena arena;
  float* buffer = arena.take<float>(32);
  cp_async(buffer + threadIdx.x, from + threadIdx.x, 4);  // @copies.issue
  if (commit) cp_async_commit();
  if (wait) cp_async_wait(0);
  if (barrier) __syncthreads();
  out[threadIdx.x] = buffer[31 - threadIdx.x];  // @copies.read
}

void copy(bool commit, bool wait, bool barrier) {
  std::vector<float> from(32, 1.f), out(32);
  launch(copies, 1, 32, 32 * sizeof(float), nullptr, commit, wait, barrier, from.data(),
         out.data());
}

// What was there before must not do instead of the copy.
__global__ void early_read(bool good, const float* from, float* out) {
  SharedArena arena;
  float* x = arena.take<float>(4);
  x[0] = from[0];
  cp_async(x, from, 16);
  cp_async_commit();
  if (good) cp_async_wait(0);
  *out = x[0];  // @early_read
  cp_async_wait(0);
}

void read_copy(bool good) {
  float out = 0;
  launch(early_read, 1, 1, 16, nullptr, good, elements, &out);
  expect(out == 1, "wrong numbers");
}

// A copy may read its source, and write its destination, at any time before the wait.
enum class Touch { nothing, source, destination };
__global__ void touched(Touch touch, float* from) {
  SharedArena arena;
  float* buffer = arena.take<float>(4);
  if (threadIdx.x == 0) cp_async(buffer, from, 16);
  __syncthreads();
  if (threadIdx.x == 1 && touch == Touch::source) from[0] = 2;         // @touched.source
  if (threadIdx.x == 1 && touch == Touch::destination) buffer[0] = 2;  // @touched.destination
  cp_async_commit();
  cp_async_wait(0);  // @touched.wait
}

void touch(Touch touch) {
  alignas(16) float from[4] = {};
  launch(touched, 1, 32, 16, nullptr, touch, from);
}

__global__ void unread_copy(const float* from) {
  SharedArena arena;
  cp_async(arena.take<float>(4), from, 16);  // @unread
  cp_async_commit();
}

__global__ void nothing() {}
__global__ void throwing() { throw std::runtime_error("thrown by the kernel"); }

void refused_launches() {
  const cudaError_t invalid = cudaErrorInvalidConfiguration;
  expect(launch(nothing, 1, dim3(32, 33), 0, nullptr) == invalid, "1056 threads");
  expect(launch(nothing, 1, dim3(1, 1, 65), 0, nullptr) == invalid, "65 threads in z");
  expect(launch(nothing, 1, 0, 0, nullptr) == invalid, "no threads");
  expect(launch(nothing, 0, 1, 0, nullptr) == invalid, "no blocks");
  expect(launch(nothing, dim3(1, 65536), 1, 0, nullptr) == invalid, "65536 blocks in y");
  expect(launch(nothing, 1, 1, 227 * 1024 + 1, nullptr) == invalid, "too much shared memory");
  expect(launch_cooperative(nothing, 1025, 1, 0, nullptr) == cudaErrorCooperativeLaunchTooLarge,
         "1025 blocks in a cooperative launch");
  expect(launch(nothing, 3, dim3(32, 32), 227 * 1024, nullptr) == cudaSuccess, "a full block");
}

}  // namespace

extern const std::vector<Case> memory_cases = {
    {"uninitialised", [] { read_shared(false); }},
    {"good_initialised", [] { read_shared(true); }},
    {"overrun", [] { overrun(8); }},
    {"good_two_arrays", [] { overrun(7); }},
    {"greedy", [] { launch(greedy, 1, 32, 24, nullptr, size_t(4)); }},
    {"good_greedy", [] { launch(greedy, 1, 32, 24, nullptr, size_t(3)); }},
    {"disagreeing", [] { launch(disagreeing, 1, 32, 1024, nullptr, false); }},
    {"good_agreeing", [] { launch(disagreeing, 1, 32, 1024, nullptr, true); }},
    {"misaligned_vector", [] { launch(vectors, 1, 1, 0, nullptr, 2, elements, &element); }},
    {"good_vector", [] { launch(vectors, 1, 1, 0, nullptr, 4, elements, &element); }},
    {"unchecked_vector", [] { launch(unchecked_vectors, 1, 1, 0, nullptr, elements, &element); }},
    {"misaligned_copy", [] { launch(misaligned_copy, 1, 1, 32, nullptr); }},
    {"copy_not_committed", [] { copy(false, true, true); }},
    {"copy_not_waited_for", [] { copy(true, false, true); }},
    {"copy_unread_not_waited_for", [] { launch(unread_copy, 1, 1, 16, nullptr, elements); }},
    {"copy_without_barrier", [] { copy(true, true, false); }},
    {"good_copy", [] { copy(true, true, true); }},
    {"read_before_wait", [] { read_copy(false); }},
    {"good_read", [] { read_copy(true); }},
    {"source_overwritten", [] { touch(Touch::source); }},
    {"destination_overwritten", [] { touch(Touch::destination); }},
    {"good_untouched_copy", [] { touch(Touch::nothing); }},
    {"waits_for_too_little", [] { copy_in_turns(2); }},
    {"good_double_buffer", [] { copy_in_turns(1); }},
    {"throwing", [] { launch(throwing, 1, 32, 0, nullptr); }},
    {"good_refusals", refused_launches},
};
