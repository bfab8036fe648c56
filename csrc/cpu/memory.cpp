#include "cpu/memory.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <new>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace fused_rnn::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

void advise_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  const uintptr_t first = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (first + kHugePage - 1) / kHugePage * kHugePage,
                  end = (first + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Whether an array gets huge pages of its own. Not where AddressSanitizer watches for its end.
bool large([[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  return false;
#else
  return bytes >= kHugePage / 4;
#endif
}

struct Block {
  void* data;
  size_t pages;
};

void release(const Block& block) { operator delete(block.data, std::align_val_t{kHugePage}); }

// Blocks that wait for their next use. Nobody waits for the lock: another thread may have held it when
// this process was forked.
class Kept {
 public:
  Kept() { blocks_.reserve(kMost + 1); }  // giving back is part of destructors and must not throw

  void* take(size_t pages) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock) return nullptr;
    const auto found = std::find_if(blocks_.rbegin(), blocks_.rend(),
                                    [&](const Block& block) { return block.pages == pages; });
    if (found == blocks_.rend()) return nullptr;
    void* const data = found->data;
    blocks_.erase(std::next(found).base());
    pages_ -= pages;
    return data;
  }

  void give_back(const Block& block) {
    const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock || block.pages > kMost) return release(block);
    blocks_.push_back(block);
    pages_ += block.pages;
    while (pages_ > kMost) {  // those go that were not used for longest
      pages_ -= blocks_.front().pages;
      release(blocks_.front());
      blocks_.erase(blocks_.begin());
    }
  }

 private:
  static constexpr size_t kMost = (size_t{64} << 20) / kHugePage;
  std::mutex mutex_;
  std::vector<Block> blocks_;  // the last given back at the end
  size_t pages_ = 0;
};

Kept& kept() {
  static auto* const kept = new Kept;  // threads may outlive static objects
  return *kept;
}

constexpr std::align_val_t kCacheLine{64};
size_t pages_of(size_t bytes) { return (bytes + kHugePage - 1) / kHugePage; }

}  // namespace

void prefer_huge_pages(void* data, size_t bytes) {
  constexpr size_t kMany = size_t{4} << 20;
  if (bytes >= kMany) advise_huge_pages(data, bytes);
}

void* take_scratch(size_t bytes) {
  if (!large(bytes)) return operator new(bytes, kCacheLine);
  const size_t pages = pages_of(bytes);
  void* data = kept().take(pages);
  if (data) return data;
  data = operator new(pages * kHugePage, std::align_val_t{kHugePage});
  advise_huge_pages(data, pages * kHugePage);
  return data;
}

void give_scratch_back(void* data, size_t bytes) {
  large(bytes) ? kept().give_back({data, pages_of(bytes)}) : operator delete(data, kCacheLine);
}

}  // namespace fused_rnn::cpu
