// What the emulator tells the race detector, which exists in race builds only. There, every
// access of a kernel to memory must be ordered with those of other threads to the same bytes.
#pragma once
#include <cstddef>
#include <vector>

#include "emulator/runtime.h"
#ifdef EMULATOR_RACE
#include "emulator/clock.h"
#endif

namespace emulator::race {

#ifdef EMULATOR_RACE

using Knowledge = Clock;  // what happened before, as far as someone knows

void start_launch(size_t blocks, size_t threads_a_block);
void start_thread(unsigned thread, const ThreadIndex& index);
void end_thread(unsigned thread);
void running(unsigned thread);  // is the one whose accesses follow

void publish(Knowledge& known);      // what this thread did and knows is added
void learn(const Knowledge& known);  // all that stands there happened before what follows
void fence();

// States of memory, until the next write (uninitialised) or call (the others).
void uninitialised(const void* memory, size_t bytes);  // must not be read
void in_flight(const void* memory, size_t bytes);      // must not be touched
void forbidden(const void* memory, size_t bytes);      // likewise
void ordinary(const void* memory, size_t bytes);

#else

struct Knowledge {};

inline void start_launch(size_t, size_t) {}
inline void start_thread(unsigned, const ThreadIndex&) {}
inline void end_thread(unsigned) {}
inline void running(unsigned) {}
inline void publish(Knowledge&) {}
inline void learn(const Knowledge&) {}
inline void fence() {}
inline void uninitialised(const void*, size_t) {}
inline void in_flight(const void*, size_t) {}
inline void forbidden(const void*, size_t) {}
inline void ordinary(const void*, size_t) {}

#endif

}  // namespace emulator::race
