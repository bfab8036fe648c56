// A vector clock: how far each CUDA thread of the launch is known to have come. Times of one block
// stand together and are shared between clocks until one changes them: after a barrier all threads
// of a block know the same, and of most blocks a thread knows nothing.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

namespace emulator::race {

class Clock {
 public:
  // Before any clock of a launch is used.
  static void set_block(size_t threads) { threads_a_block_ = threads; }

  uint32_t of(unsigned thread) const {
    const size_t block = thread / threads_a_block_;
    return block < blocks_.size() && blocks_[block] ? (*blocks_[block])[thread % threads_a_block_]
                                                    : 0;
  }
  void set(unsigned thread, uint32_t time);
  void join(const Clock& other);  // the later of the two, for every thread

 private:
  using Times = std::vector<uint32_t>;

  inline static size_t threads_a_block_ = 1;
  std::vector<std::shared_ptr<Times>> blocks_;  // null: zeros
};

}  // namespace emulator::race
