// The border between kernels, compiled with a sanitizer or not, and the emulator, compiled without:
// what a kernel's calls become. Every function belongs to the CUDA thread that runs, `self`.
// A Site is the line of the kernel that made the call; it arrives as a default argument.
#pragma once
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <stdexcept>

#include "emulator/types.h"

namespace emulator {

enum class Order { fifo, lifo, random };  // which thread runs next

// A run is a pure function of its kernel, its arguments and these.
struct Options {
  Order order = Order::fifo;  // fifo and lifo change threads only where one must wait
  uint64_t seed = 1;
  unsigned preempt_percent = 25;  // random: chance of a change at an atomic, a fence, a cp.async
  unsigned resident_blocks = 2;   // alive at once in an ordinary launch; in a cooperative one, all
  unsigned cooperative_blocks = 1024;       // the largest cooperative grid
  size_t max_shared_bytes = 227 * 1024;     // of a block
  unsigned livelock_polls_a_thread = 2000;  // so many without progress: a livelock
};
extern Options options;
extern uint64_t switches, launches;  // changes of thread, and kernels run, so far

// What launch() throws when a kernel fails: the report.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Site = std::source_location;
struct Where {
  const char* what;
  Site site;
};

struct ThreadIndex {
  uint3 thread_idx, block_idx;
  dim3 block_dim, grid_dim;
  unsigned lane;
};
extern ThreadIndex* self;  // null outside kernels

[[noreturn]] void fail(Where where, const char* message);  // ends the launch with an Error

void may_switch(Where where);  // an operation whose place among those of other threads matters
void poll(Where where);        // one turn of a spin loop: always lets others run
void fence(Where where);       // __threadfence

void block_barrier(Where where);
void warp_barrier(unsigned mask, Where where);
// Gives every lane of `mask` what the others brought, all[lane], and returns the lanes present.
unsigned warp_exchange(unsigned mask, uint64_t mine, uint64_t (&all)[32], Where where);

// The index-th array that threads of this block take from their launch's shared memory.
void* shared_array(size_t index, size_t offset, size_t bytes, Where where);

// A cp.async on its way. Its source is read at some time between issue and wait: `early` is what
// it held at issue.
struct AsyncCopy {
  unsigned char* to;
  const unsigned char* from;
  unsigned bytes;  // 4, 8 or 16
  unsigned char early[16];
  bool read_early;
  Where issued;
};
void issue_copy(AsyncCopy copy);
void commit_copies();
// Takes the oldest copy that is not in the newest `pending` groups; false: there is none.
bool take_landed_copy(unsigned pending, AsyncCopy& copy);

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes;
  bool cooperative;
};
// Runs entry(argument) as every thread of the launch; an error code instead where a driver refuses.
cudaError_t run(const LaunchShape& shape, void (*entry)(void*), void* argument);

}  // namespace emulator
