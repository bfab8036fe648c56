// Memory as kernels use it: shared arrays, atomics, fences, asynchronous copies, vector accesses.
// All that touches a kernel's data is inline, so that it is compiled with the kernel's sanitizer.
#pragma once
#include <concepts>

#include "emulator/runtime.h"

namespace emulator {

// Carves dynamic shared memory into arrays at offsets of 16. Here each array is an allocation of
// its own with 0xFF in it (NaN in every float format), so that an overrun is not silent.
// One arena a kernel: all threads of a block take the same arrays in the same order.
class SharedArena {
 public:
  template <class T>
  T* take(size_t count, Site site = Site::current()) {
    static_assert(alignof(T) <= 16);
    const size_t offset = (used_ + 15) & ~size_t(15);
    used_ = offset + count * sizeof(T);
    return static_cast<T*>(
        shared_array(arrays_++, offset, count * sizeof(T), {"SharedArena::take", site}));
  }

 private:
  size_t used_ = 0, arrays_ = 0;
};

// PTX red and ld, gpu scope.
inline void red_add_release(unsigned* address, unsigned value, Site site = Site::current()) {
  may_switch({"red.release", site});
  __atomic_fetch_add(address, value, __ATOMIC_RELEASE);
}
inline void red_add_relaxed(unsigned* address, unsigned value, Site site = Site::current()) {
  may_switch({"red.relaxed", site});
  __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
inline unsigned ld_acquire(const unsigned* address, Site site = Site::current()) {
  poll({"ld.acquire", site});
  return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}
inline unsigned ld_relaxed(const unsigned* address, Site site = Site::current()) {
  poll({"ld.relaxed", site});
  return __atomic_load_n(address, __ATOMIC_RELAXED);
}

// For a vector access through a pointer to its elements: the device traps where this fails.
inline void check_aligned(const void* pointer, size_t bytes, Site site = Site::current()) {
  if (reinterpret_cast<uintptr_t>(pointer) % bytes) {
    fail({"a vector access", site}, "misaligned: the address is not a multiple of its size");
  }
}

// From issue to wait the destination is 0xFF and, in a race build, not to be touched.
inline void cp_async(void* to, const void* from, unsigned bytes, Site site = Site::current()) {
  const Where where{"cp.async", site};
  if (bytes != 4 && bytes != 8 && bytes != 16) fail(where, "the size is not 4, 8 or 16 bytes");
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes) {
    fail(where, "misaligned: source or destination is not a multiple of the size");
  }
  may_switch(where);
  AsyncCopy copy{static_cast<unsigned char*>(to),
                 static_cast<const unsigned char*>(from),
                 bytes,
                 {},
                 false,
                 where};
  for (unsigned i = 0; i < bytes; ++i) copy.early[i] = copy.from[i];
  for (unsigned i = 0; i < bytes; ++i) copy.to[i] = 0xFF;
  issue_copy(copy);
}
inline void cp_async_commit() { commit_copies(); }
// Until at most `pending` of this thread's newest groups are on their way.
inline void cp_async_wait(unsigned pending, Site site = Site::current()) {
  may_switch({"cp.async.wait_group", site});
  for (AsyncCopy copy; take_landed_copy(pending, copy);) {
    for (unsigned i = 0; i < copy.bytes; ++i) {
      const unsigned char late = copy.from[i];
      copy.to[i] = copy.read_early ? copy.early[i] : late;
    }
  }
}

}  // namespace emulator

inline void __threadfence(emulator::Site site = emulator::Site::current()) {
  emulator::fence({"__threadfence", site});
}

// Relaxed, as on the device. For integers: sums of floats would depend on the order.
template <std::integral T>
T atomicAdd(T* address, T value, emulator::Site site = emulator::Site::current()) {
  emulator::may_switch({"atomicAdd", site});
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
