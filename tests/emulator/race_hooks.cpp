// The functions that code compiled with `g++ -fsanitize=thread` calls at every access to memory, in
// place of libtsan, which is not linked. They are hidden: a library's kernels call the library's.
// With --param tsan-distinguish-volatile=1 a volatile access is seen too: it is a relaxed atomic,
// and a volatile read one turn of a spin loop.
#include <cstdint>

#include "emulator/race_accesses.h"
#include "emulator/runtime.h"

#pragma GCC visibility push(hidden)

using emulator::race::atomic_access;
using emulator::race::plain_access;

namespace {

void volatile_read(void* address, size_t bytes, const void* code) {
  if (emulator::self) emulator::poll({"a volatile read", {}});
  atomic_access(address, bytes, true, false, __ATOMIC_RELAXED, code);
}
void volatile_write(void* address, size_t bytes, const void* code) {
  if (emulator::self) emulator::may_switch({"a volatile write", {}});
  atomic_access(address, bytes, false, true, __ATOMIC_RELAXED, code);
}

}  // namespace

#define CODE __builtin_return_address(0)

#define PLAIN(bytes)                                                                     \
  void __tsan_read##bytes(void* a) { plain_access(a, bytes, false, CODE); }              \
  void __tsan_write##bytes(void* a) { plain_access(a, bytes, true, CODE); }              \
  void __tsan_unaligned_read##bytes(void* a) { plain_access(a, bytes, false, CODE); }    \
  void __tsan_unaligned_write##bytes(void* a) { plain_access(a, bytes, true, CODE); }    \
  void __tsan_volatile_read##bytes(void* a) { volatile_read(a, bytes, CODE); }           \
  void __tsan_volatile_write##bytes(void* a) { volatile_write(a, bytes, CODE); }         \
  void __tsan_unaligned_volatile_read##bytes(void* a) { volatile_read(a, bytes, CODE); } \
  void __tsan_unaligned_volatile_write##bytes(void* a) { volatile_write(a, bytes, CODE); }

// The operation itself follows its checks, and nothing runs in between.
#define FETCH(bits, T, name)                                                \
  T __tsan_atomic##bits##_fetch_##name(volatile T* a, T value, int order) { \
    atomic_access(const_cast<T*>(a), sizeof(T), true, true, order, CODE);   \
    return __atomic_fetch_##name(a, value, __ATOMIC_SEQ_CST);               \
  }
#define COMPARE_EXCHANGE(bits, T, strength)                                                  \
  int __tsan_atomic##bits##_compare_exchange_##strength(volatile T* a, T* expected, T value, \
                                                        int order, int) {                    \
    atomic_access(const_cast<T*>(a), sizeof(T), true, true, order, CODE);                    \
    return __atomic_compare_exchange_n(a, expected, value, false, __ATOMIC_SEQ_CST,          \
                                       __ATOMIC_SEQ_CST);                                    \
  }
#define ATOMIC(bits, T)                                                    \
  T __tsan_atomic##bits##_load(const volatile T* a, int order) {           \
    atomic_access(const_cast<T*>(a), sizeof(T), true, false, order, CODE); \
    return __atomic_load_n(a, __ATOMIC_SEQ_CST);                           \
  }                                                                        \
  void __tsan_atomic##bits##_store(volatile T* a, T value, int order) {    \
    atomic_access(const_cast<T*>(a), sizeof(T), false, true, order, CODE); \
    __atomic_store_n(a, value, __ATOMIC_SEQ_CST);                          \
  }                                                                        \
  T __tsan_atomic##bits##_exchange(volatile T* a, T value, int order) {    \
    atomic_access(const_cast<T*>(a), sizeof(T), true, true, order, CODE);  \
    return __atomic_exchange_n(a, value, __ATOMIC_SEQ_CST);                \
  }                                                                        \
  FETCH(bits, T, add)                                                      \
  FETCH(bits, T, sub)                                                      \
  FETCH(bits, T, and)                                                      \
  FETCH(bits, T, or)                                                       \
  FETCH(bits, T, xor)                                                      \
  COMPARE_EXCHANGE(bits, T, strong)                                        \
  COMPARE_EXCHANGE(bits, T, weak)

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

void __tsan_read_range(void* a, size_t bytes) { plain_access(a, bytes, false, CODE); }
void __tsan_write_range(void* a, size_t bytes) { plain_access(a, bytes, true, CODE); }
void __tsan_atomic_thread_fence(int) { emulator::race::fence_access(); }
void __tsan_atomic_signal_fence(int) {}

// clang-format off: there are no semicolons
PLAIN(1) PLAIN(2) PLAIN(4) PLAIN(8) PLAIN(16)
ATOMIC(8, uint8_t) ATOMIC(16, uint16_t) ATOMIC(32, uint32_t) ATOMIC(64, uint64_t)
// clang-format on

}  // extern "C"

#pragma GCC visibility pop
