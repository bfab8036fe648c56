#pragma once
#include <string>

namespace emulator {

// The lines of the source that an instruction belongs to, as addr2line names them: `file.cuh:66`,
// and where that was inlined, `file.cuh:66 < kernel.cu:58`. `code` is the address after it.
std::string source_lines(const void* code);

}  // namespace emulator
