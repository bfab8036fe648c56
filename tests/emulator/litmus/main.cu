// litmus                     the names of the cases
// litmus CASE                runs it in every order; random with five seeds
// litmus CASE ORDER SEED     runs it once; ORDER is 0 (fifo), 1 (lifo) or 2 (random)
// Prints a line `== ORDER SEED` and then the report, if there is one, for each run.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator/litmus/case.h"

extern const std::vector<Case> barrier_cases, memory_cases, ordering_cases;

static void run(const Case& one, int order, int seed) {
  emulator::options.order = static_cast<emulator::Order>(order);
  emulator::options.seed = seed;
  std::printf("== %d %d\n", order, seed);
  std::fflush(stdout);  // a sanitizer may end the process
  try {
    one.run();
  } catch (const std::exception& error) {
    std::puts(error.what());
  }
}

int main(int argc, char** argv) {
  for (const auto* cases : {&barrier_cases, &ordering_cases, &memory_cases}) {
    for (const Case& one : *cases) {
      if (argc == 1) std::puts(one.name);
      if (argc < 2 || std::strcmp(one.name, argv[1]) != 0) continue;
      if (argc == 4) {
        run(one, std::atoi(argv[2]), std::atoi(argv[3]));
      } else {
        run(one, 0, 1);
        run(one, 1, 1);
        for (int seed = 1; seed <= 5; ++seed) run(one, 2, seed);
      }
    }
  }
}
