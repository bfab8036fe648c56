// Barriers and the exchange of values in a warp. Stricter than CUDA where a kernel that needs the
// difference is more likely wrong: a source lane beyond the width, or one that does not take part.
#pragma once
#include <cstring>
#include <type_traits>

#include "emulator/runtime.h"

inline void __syncthreads(emulator::Site site = emulator::Site::current()) {
  emulator::block_barrier({"__syncthreads", site});
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu,
                       emulator::Site site = emulator::Site::current()) {
  emulator::warp_barrier(mask, {"__syncwarp", site});
}

namespace emulator {

// Lanes are divided into groups of `width`; an index within one must be below it.
inline void check_in_width(unsigned index, int width, Where where) {
  if (width != 1 && width != 2 && width != 4 && width != 8 && width != 16 && width != 32) {
    fail(where, "the width is not a power of two up to 32");
  }
  if (index >= static_cast<unsigned>(width)) {
    fail(where, "the lane or distance is outside the width");
  }
}

template <class T>
T from_lane(unsigned mask, T value, unsigned source, Where where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  uint64_t mine = 0, all[32];
  std::memcpy(&mine, &value, sizeof(T));
  const unsigned present = warp_exchange(mask, mine, all, where);
  if (!(present >> source & 1)) fail(where, "the lane to read from does not take part");
  std::memcpy(&value, &all[source], sizeof(T));
  return value;
}

}  // namespace emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              emulator::Site site = emulator::Site::current()) {
  const emulator::Where where{"__shfl_sync", site};
  emulator::check_in_width(source, width, where);
  return emulator::from_lane(mask, value, (emulator::self->lane & -width) + source, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  emulator::Site site = emulator::Site::current()) {
  const emulator::Where where{"__shfl_xor_sync", site};
  emulator::check_in_width(bits, width, where);
  return emulator::from_lane(mask, value, emulator::self->lane ^ bits, where);
}
// A lane whose source would be beyond its group keeps its own value.
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   emulator::Site site = emulator::Site::current()) {
  const emulator::Where where{"__shfl_down_sync", site};
  emulator::check_in_width(distance, width, where);
  const unsigned lane = emulator::self->lane;
  const bool inside = lane % width + distance < static_cast<unsigned>(width);
  return emulator::from_lane(mask, value, inside ? lane + distance : lane, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              emulator::Site site = emulator::Site::current()) {
  uint64_t all[32];
  const unsigned present =
      emulator::warp_exchange(mask, predicate != 0, all, {"__ballot_sync", site});
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (present >> lane & 1) bits |= static_cast<unsigned>(all[lane]) << lane;
  }
  return bits;
}
