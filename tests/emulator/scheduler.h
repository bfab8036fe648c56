// The state of a launch, for the emulator's own files: its blocks and CUDA threads, and what ends,
// delays or wakes a thread. There is one launch at a time.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "emulator/barrier.h"
#include "emulator/fiber.h"
#include "emulator/runtime.h"

namespace emulator {

struct SharedArray {
  size_t offset, bytes;
  std::unique_ptr<unsigned char[]> memory;  // with a guard on either side
};

struct Block {
  unsigned threads = 0, exited = 0;
  size_t shared_bytes = 0;
  Barrier barrier;
  std::vector<Warp> warps;
  std::vector<SharedArray> shared_arrays;
};

// A thread's cp.async, oldest first: those of committed groups, then the others.
struct CopyQueue {
  std::deque<AsyncCopy> copies;
  std::deque<unsigned> groups;  // number of copies
  unsigned uncommitted = 0;
};

struct CudaThread : ThreadIndex {
  Fiber fiber;
  Block* block;
  unsigned in_block, in_launch;  // linear indices
  bool done;
  Where where;  // its last call
  CopyQueue copies;
};

inline CudaThread& current() { return static_cast<CudaThread&>(*self); }

inline size_t count(dim3 shape) { return size_t(shape.x) * shape.y * shape.z; }
cudaError_t refusal(const LaunchShape& shape);  // of the device's driver, or cudaSuccess

std::string name(const ThreadIndex& thread);  // block (0,0,0) thread (0,0,0)
std::string text(Where where);                // __syncthreads at file.cu:7

[[noreturn]] void fail(Where where, std::string message);
[[noreturn]] void end_launch(std::string report);  // fail() with a report that names the place
void wait(Where where);                            // until another thread wakes this one
void wake(std::vector<CudaThread*>& threads);      // and empties the list
void let_others_run(Where where);
uint64_t random_number();

}  // namespace emulator
