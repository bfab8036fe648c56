// The steps of a sequence as a persistent kernel takes them along, in its parameters: runs of steps
// of one size, so that a dense sequence is one run and a packed one has at most one a sequence.
#pragma once
#include <optional>
#include <vector>

#include "cells/numeric.h"
#include "steps.h"

namespace fused_rnn::cuda {

struct Run {
  int64_t first;  // step, in the order of computation
  int64_t row;    // of that step
  int64_t size;   // rows of each step
};

struct Runs {
  static constexpr int kMost = 128;  // 3 of the 4 KiB that parameters may take
  int count;
  int64_t steps;
  int64_t direction;  // 1, or -1: rows go down from step to step
  Run run[kMost];
};

struct StepRows {
  int64_t row, size;
};

// The rows of step i. `near` is a run not far from it, and then that of i: a walk through the steps
// in either order asks for neighbours.
FR_FN StepRows rows_of(const Runs& runs, int64_t i, int& near) {
  while (near + 1 < runs.count && runs.run[near + 1].first <= i) ++near;
  while (runs.run[near].first > i) --near;
  const Run& run = runs.run[near];
  return {run.row + runs.direction * (i - run.first) * run.size, run.size};
}

// None if there are more than kMost.
std::optional<Runs> runs_of(const std::vector<Step>& steps);

}  // namespace fused_rnn::cuda
