// Large arrays that are new to the process at every call: malloc gives their memory back to the system
// and taking it again, 4 KiB at a time, costs a good part of such a call.
#pragma once
#include <cstddef>

namespace fused_rnn::cpu {

// Where there is much of it, lets the system give this memory 2 MiB at a time.
void prefer_huge_pages(void* data, size_t bytes);

}  // namespace fused_rnn::cpu
