// What the race detector knows of every byte that a kernel has touched in this launch.
#pragma once
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace emulator::race {

struct Access {
  static constexpr uint32_t kNobody = ~uint32_t(0);

  const void* code = nullptr;  // the address its instruction returns to
  uint32_t thread = kNobody;
  uint32_t time : 31 = 0;  // of that thread
  uint32_t atomic : 1 = 0;
};

enum class State : uint8_t { ordinary, uninitialised, in_flight, forbidden };

struct Byte {
  // By thread and whether it is atomic.
  using Reads = std::unordered_map<uint64_t, Access>;

  Access write, read;                 // the last ones
  std::unique_ptr<Reads> more_reads;  // since the write, not ordered before `read`
  State state = State::ordinary;
};

class Shadow {
 public:
  Byte& operator[](uintptr_t address) {
    const uintptr_t number = address / kPageBytes;
    if (number != last_number_) {
      std::unique_ptr<Page>& page = pages_[number];
      if (!page) page = std::make_unique<Page>();
      last_number_ = number;
      last_page_ = page.get();
    }
    return last_page_->bytes[address % kPageBytes];
  }
  void clear() {
    pages_.clear();
    last_number_ = ~uintptr_t(0);
  }

 private:
  static constexpr size_t kPageBytes = 4096;
  struct Page {
    Byte bytes[kPageBytes];
  };

  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  uintptr_t last_number_ = ~uintptr_t(0);
  Page* last_page_ = nullptr;
};

}  // namespace emulator::race
