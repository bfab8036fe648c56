// What the hooks tell the race detector; outside kernels, nothing. `code` is the address that the
// access's instruction returns to.
#pragma once
#include <cstddef>

namespace emulator::race {

void plain_access(const void* address, size_t bytes, bool writes, const void* code);
void atomic_access(const void* address, size_t bytes, bool reads, bool writes, int memory_order,
                   const void* code);
void fence_access();

}  // namespace emulator::race
