// Large arrays may be new to the process at every call (glibc maps those of over 32 MiB anew, and gives
// the end of its heap back): to take their memory 4 KiB at a time costs a good part of such a call.
#pragma once
#include <cstddef>

namespace fused_rnn::cpu {

// Where there is much of it, lets the system give this memory 2 MiB at a time.
void prefer_huge_pages(void* data, size_t bytes);

}  // namespace fused_rnn::cpu
