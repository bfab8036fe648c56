#include "emulator/clock.h"

#include <algorithm>

namespace emulator::race {

void Clock::set(unsigned thread, uint32_t time) {
  const size_t block = thread / threads_a_block_;
  if (block >= blocks_.size()) blocks_.resize(block + 1);
  std::shared_ptr<Times>& times = blocks_[block];
  if (!times) {
    times = std::make_shared<Times>(threads_a_block_);
  } else if (times.use_count() > 1) {
    times = std::make_shared<Times>(*times);
  }
  (*times)[thread % threads_a_block_] = time;
}

void Clock::join(const Clock& other) {
  if (blocks_.size() < other.blocks_.size()) blocks_.resize(other.blocks_.size());
  for (size_t block = 0; block < other.blocks_.size(); ++block) {
    std::shared_ptr<Times>& mine = blocks_[block];
    const std::shared_ptr<Times>& theirs = other.blocks_[block];
    if (!theirs || mine == theirs) continue;
    if (!mine) {
      mine = theirs;
      continue;
    }
    Times latest(threads_a_block_);
    std::transform(mine->begin(), mine->end(), theirs->begin(), latest.begin(),
                   [](uint32_t a, uint32_t b) { return std::max(a, b); });
    if (latest == *theirs) {
      mine = theirs;  // shared from now on
    } else if (latest != *mine) {
      mine = std::make_shared<Times>(std::move(latest));
    }
  }
}

}  // namespace emulator::race
