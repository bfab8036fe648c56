// A block's shared arrays, each an allocation of its own, and a thread's cp.async on their way.
#include <algorithm>

#include "emulator/scheduler.h"

namespace emulator {
namespace {

// Beside an array in builds where no sanitizer guards it: an overrun stays within the allocation.
#ifdef EMULATOR_ASAN
constexpr size_t kGuardBytes = 0;
#else
constexpr size_t kGuardBytes = 256;
#endif

SharedArray allocate(size_t offset, size_t bytes) {
  const size_t all = kGuardBytes + bytes + kGuardBytes;
  SharedArray array{offset, bytes, std::make_unique_for_overwrite<unsigned char[]>(all)};
  unsigned char* memory = array.memory.get();
  std::fill_n(memory, all, 0xFF);
  race::forbidden(memory, kGuardBytes);
  race::uninitialised(memory + kGuardBytes, bytes);
  race::forbidden(memory + kGuardBytes + bytes, kGuardBytes);
  return array;
}

}  // namespace

void* shared_array(size_t index, size_t offset, size_t bytes, Where where) {
  Block& block = *current().block;
  if (offset + bytes > block.shared_bytes) {
    fail(where, "the kernel takes " + std::to_string(offset + bytes) +
                    " bytes of shared memory, the launch gives " +
                    std::to_string(block.shared_bytes));
  }
  std::vector<SharedArray>& arrays = block.shared_arrays;
  if (index == arrays.size()) arrays.push_back(allocate(offset, bytes));
  if (index > arrays.size() || arrays[index].offset != offset || arrays[index].bytes != bytes) {
    fail(where, "the threads of a block take different shared arrays");
  }
  return arrays[index].memory.get() + kGuardBytes;
}

void issue_copy(AsyncCopy copy) {
  copy.read_early = random_number() % 2;
  CopyQueue& queue = current().copies;
  queue.copies.push_back(copy);
  ++queue.uncommitted;
  race::in_flight(copy.to, copy.bytes);
}

void commit_copies() {
  CopyQueue& queue = current().copies;
  queue.groups.push_back(queue.uncommitted);
  queue.uncommitted = 0;
}

bool take_landed_copy(unsigned pending, AsyncCopy& copy) {
  CopyQueue& queue = current().copies;
  while (queue.groups.size() > pending && queue.groups.front() == 0) queue.groups.pop_front();
  if (queue.groups.size() <= pending) return false;
  copy = queue.copies.front();
  queue.copies.pop_front();
  --queue.groups.front();
  race::ordinary(copy.to, copy.bytes);
  return true;
}

}  // namespace emulator
