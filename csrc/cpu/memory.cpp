#include "cpu/memory.h"

#include <cstdint>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace fused_rnn::cpu {

void prefer_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr size_t kMany = size_t{4} << 20;
  if (bytes < kMany) return;
  constexpr uintptr_t kHuge = uintptr_t{2} << 20;
  const uintptr_t first = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (first + kHuge - 1) / kHuge * kHuge,
                  end = (first + bytes) / kHuge * kHuge;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace fused_rnn::cpu
