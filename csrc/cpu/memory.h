// The memory of arrays. To take new memory from the system 4 KiB at a time costs a good part of a call
// that wants much of it, and reading it afterwards goes through as many entries of the page tables.
#pragma once
#include <cstddef>

namespace fused_rnn::cpu {

// Where there is much of it, lets the system give this memory 2 MiB at a time.
void prefer_huge_pages(void* data, size_t bytes);

// Scratch memory, aligned to a cache line and not initialised. What is large comes in huge pages, and up
// to 64 MiB of it are kept for the calls that follow: free() gives the end of the heap back to the system.
void* take_scratch(size_t bytes);
void give_scratch_back(void* data, size_t bytes);

}  // namespace fused_rnn::cpu
