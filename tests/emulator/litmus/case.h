// A litmus case: a kernel of a few lines with one bug, or (good) its correct twin. `@name` in a
// comment marks a line that the report must name; tests/test_emulator.py knows which.
#pragma once
#include <string>
#include <vector>

#include "emulator/cuda.h"

using emulator::launch;
using emulator::launch_cooperative;
using emulator::SharedArena;

struct Case {
  const char* name;
  void (*run)();  // throws what is wrong
};

inline void expect(bool holds, const char* message) {
  if (!holds) throw emulator::Error(message);
}
