// Barriers of a block and of a warp. A shuffle is a barrier that orders no memory.
#include "emulator/barrier.h"

#include <bit>
#include <cstring>

#include "emulator/scheduler.h"

namespace emulator {
namespace {

bool same_line(Where a, Where b) {
  return a.site.line() == b.site.line() && std::strcmp(a.site.file_name(), b.site.file_name()) == 0;
}

// Waits until `expected` threads have arrived, all from one line of the source.
void arrive(Barrier& barrier, unsigned expected, Where where, bool orders_memory) {
  if (barrier.waiting.empty()) barrier.first = where;
  if (!same_line(barrier.first, where)) {
    fail(where, "divergent: others that must come here wait in " + text(barrier.first));
  }
  race::Knowledge& known = barrier.known[barrier.generation % 2];
  if (orders_memory) race::publish(known);
  barrier.waiting.push_back(&current());
  if (barrier.waiting.size() < expected) {
    wait(where);
  } else {
    ++barrier.generation;
    if (options.order == Order::fifo) {  // the last to come goes on first
      barrier.waiting.pop_back();
      wake(barrier.waiting);
    } else {
      wake(barrier.waiting);
      wait(where);
    }
  }
  if (orders_memory) race::learn(known);
}

Warp& warp() { return current().block->warps[current().in_block / 32]; }

// The lanes that must come: those of the mask that the block has.
unsigned expected_lanes(unsigned mask, Where where) {
  if (!(mask >> self->lane & 1)) fail(where, "the mask does not name the lane that calls");
  if (mask & warp().exited) fail(where, "the mask names a lane that has exited");
  return mask & warp().lanes;
}

}  // namespace

void block_barrier(Where where) {
  Block& block = *current().block;
  if (block.exited > 0) fail(where, "some threads of the block have exited");
  arrive(block.barrier, block.threads, where, true);
}

void warp_barrier(unsigned mask, Where where) {
  const unsigned lanes = expected_lanes(mask, where);
  arrive(warp().groups[mask].barrier, std::popcount(lanes), where, true);
}

unsigned warp_exchange(unsigned mask, uint64_t mine, uint64_t (&all)[32], Where where) {
  const unsigned lanes = expected_lanes(mask, where);
  WarpGroup& group = warp().groups[mask];
  const unsigned parity = group.barrier.generation % 2;
  group.values[parity][self->lane] = mine;
  arrive(group.barrier, std::popcount(lanes), where, false);
  std::memcpy(all, group.values[parity], sizeof all);
  return lanes;
}

}  // namespace emulator
