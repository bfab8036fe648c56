// The race detector: vector clocks a CUDA thread, and for every byte the last write and the reads
// since. An access is a race unless those it conflicts with happened before it, by the rules of
// C++ and PTX: barriers, release and acquire, and fences around relaxed operations. It sees the
// accesses through the functions that `g++ -fsanitize=thread` calls (race_hooks.cpp).
#include "emulator/race.h"

#include "emulator/race_accesses.h"
#include "emulator/scheduler.h"
#include "emulator/shadow.h"
#include "emulator/source_line.h"

namespace emulator::race {
namespace {

struct Thread {
  uint32_t time = 1;  // accesses up to the last publication, fence or release have less
  Clock known;        // what happened before; the entry of the thread itself is not used
  Clock at_fence;     // what a relaxed store publishes: all before the last fence
  Clock after_fence;  // what relaxed loads saw: known after the next fence
  ThreadIndex index{};
};

Shadow shadow;
std::unordered_map<const void*, Clock> locations;  // what an atomic variable publishes
std::vector<Thread> threads;
unsigned running_thread = 0;

Thread& me() { return threads[running_thread]; }

Clock all_i_know() {
  Clock clock = me().known;
  clock.set(running_thread, me().time);
  return clock;
}

std::string describe(const char* kind, const Access& access) {
  return std::string(access.atomic ? "atomic " : "") + kind + " by " +
         name(threads[access.thread].index) + " at " + source_lines(access.code);
}

[[noreturn]] void report_race(const char* kind, const Access& now, const char* earlier_kind,
                              const Access& earlier) {
  end_launch("data race: " + describe(kind, now) + "\n  not ordered after the " +
             describe(earlier_kind, earlier));
}

[[noreturn]] void report_state(const char* kind, const Access& now, State state) {
  const char* what = state == State::uninitialised ? "uninitialised shared memory: "
                     : state == State::in_flight   ? "destination of a cp.async on its way: "
                                                   : "outside a shared array: ";
  end_launch(what + describe(kind, now));
}

bool before(const Access& earlier) {
  return earlier.thread == Access::kNobody || earlier.thread == running_thread ||
         earlier.time <= me().known.of(earlier.thread);
}
bool conflict(const Access& earlier, const Access& now) {
  return !(earlier.atomic && now.atomic) && !before(earlier);
}
bool same(const Access& a, const Access& b) {
  return a.thread == b.thread && a.time == b.time && a.atomic == b.atomic;
}

void read(Byte& byte, const Access& now) {
  if (byte.state != State::ordinary) report_state("read", now, byte.state);
  if (same(byte.read, now)) return;
  if (conflict(byte.write, now)) report_race("read", now, "write", byte.write);
  // A read that happened before this one need not be kept: who comes after this came after it. But
  // for an atomic one, which conflicts with less.
  if (before(byte.read) && (byte.read.atomic || !now.atomic)) {
    byte.read = now;
    return;
  }
  if (!byte.more_reads) byte.more_reads = std::make_unique<Byte::Reads>();
  (*byte.more_reads)[uint64_t(now.thread) * 2 + now.atomic] = now;
}

void write(Byte& byte, const Access& now) {
  if (byte.state > State::uninitialised) report_state("write", now, byte.state);
  const bool unread = byte.read.thread == Access::kNobody && !byte.more_reads;
  if (unread && same(byte.write, now)) return;
  if (conflict(byte.write, now)) report_race("write", now, "write", byte.write);
  if (conflict(byte.read, now)) report_race("write", now, "read", byte.read);
  if (byte.more_reads) {
    for (const auto& [reader, other] : *byte.more_reads) {
      if (conflict(other, now)) report_race("write", now, "read", other);
    }
  }
  byte.more_reads.reset();
  byte.read = {};
  byte.write = now;
  byte.state = State::ordinary;
}

void access(const void* address, size_t bytes, bool reads, bool writes, bool atomic,
            const void* code) {
  if (current().fiber.holds(address)) return;
  const Access now{code, running_thread, me().time, atomic};
  const auto first = reinterpret_cast<uintptr_t>(address);
  for (uintptr_t i = first; i < first + bytes; ++i) {
    if (reads) read(shadow[i], now);
    if (writes) write(shadow[i], now);
  }
}

void set_state(const void* memory, size_t bytes, State state) {
  const auto first = reinterpret_cast<uintptr_t>(memory);
  for (uintptr_t i = first; i < first + bytes; ++i) shadow[i].state = state;
}

// Of an allocation that may lie where another was.
void forget(const void* memory, size_t bytes) {
  const char* first = static_cast<const char*>(memory);
  for (const char* i = first; i < first + bytes; ++i) {
    shadow[reinterpret_cast<uintptr_t>(i)] = {};
    if (!locations.empty()) locations.erase(i);
  }
}

}  // namespace

void start_launch(size_t blocks, size_t threads_a_block) {
  shadow.clear();
  locations.clear();
  threads.clear();
  threads.resize(blocks * threads_a_block);
  Clock::set_block(threads_a_block);
}
void start_thread(unsigned thread, const ThreadIndex& index) { threads[thread].index = index; }
void end_thread(unsigned thread) {
  Thread& ended = threads[thread];
  ended.known = ended.at_fence = ended.after_fence = {};
}
void running(unsigned thread) { running_thread = thread; }

void publish(Knowledge& known) {
  known.join(me().known);
  known.set(running_thread, me().time++);
}
void learn(const Knowledge& known) { me().known.join(known); }

void fence() {
  me().known.join(me().after_fence);
  me().at_fence = all_i_know();
  ++me().time;
}

void uninitialised(const void* memory, size_t bytes) {
  forget(memory, bytes);
  set_state(memory, bytes, State::uninitialised);
}
void forbidden(const void* memory, size_t bytes) {
  forget(memory, bytes);
  set_state(memory, bytes, State::forbidden);
}
void in_flight(const void* memory, size_t bytes) { set_state(memory, bytes, State::in_flight); }
void ordinary(const void* memory, size_t bytes) { set_state(memory, bytes, State::ordinary); }

void plain_access(const void* address, size_t bytes, bool writes, const void* code) {
  if (self) access(address, bytes, !writes, writes, false, code);
}

void atomic_access(const void* address, size_t bytes, bool reads, bool writes, int memory_order,
                   const void* code) {
  if (!self) return;
  access(address, bytes, reads, writes, true, code);
  const bool acquires = memory_order != __ATOMIC_RELAXED && memory_order != __ATOMIC_RELEASE;
  const bool releases = memory_order >= __ATOMIC_RELEASE;
  Clock& location = locations[address];
  if (reads) (acquires ? me().known : me().after_fence).join(location);
  if (!writes) return;
  if (!reads) location = {};  // a store ends what was published; a read-modify-write adds to it
  location.join(releases ? all_i_know() : me().at_fence);
  if (releases) ++me().time;
}

void fence_access() {
  if (self) fence();
}

}  // namespace emulator::race
