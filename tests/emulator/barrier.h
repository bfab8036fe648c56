// Where the threads of a block, or the lanes of a warp that a mask names, wait for each other.
#pragma once
#include <map>
#include <vector>

#include "emulator/race.h"
#include "emulator/runtime.h"

namespace emulator {

struct CudaThread;

struct Barrier {
  std::vector<CudaThread*> waiting;  // all that have arrived
  Where first{};                     // where the first of them stands
  unsigned generation = 0;
  // What the threads know at arrival, in turn: a slow thread that is still leaving must not learn
  // what a fast one brings to the next generation.
  race::Knowledge known[2];
};

struct WarpGroup {
  Barrier barrier;
  uint64_t values[2][32];  // what lanes brought, by parity of the generation
};

struct Warp {
  unsigned lanes = 0, exited = 0;        // as masks; the last warp of a block may have fewer
  std::map<unsigned, WarpGroup> groups;  // by mask
};

}  // namespace emulator
