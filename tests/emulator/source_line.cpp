#include "emulator/source_line.h"

#include <dlfcn.h>

#include <cstdio>
#include <string_view>

namespace emulator {
namespace {

// The emulator's own headers are no place in a kernel.
bool is_ours(std::string_view path) {
  return path.find("/emulator/") != path.npos && path.ends_with(".h");
}

}  // namespace

std::string source_lines(const void* code) {
  Dl_info object{};
  if (!dladdr(code, &object)) return "an unknown place";
  const size_t offset = static_cast<const char*>(code) - static_cast<char*>(object.dli_fbase) - 1;
  char number[32];
  std::snprintf(number, sizeof number, "0x%zx", offset);
  const std::string command =
      "addr2line -i -e '" + std::string(object.dli_fname) + "' " + number + " 2>&1";
  std::FILE* output = popen(command.c_str(), "r");
  if (!output) return std::string("offset ") + number;
  std::string lines;
  char buffer[1024];
  while (std::fgets(buffer, sizeof buffer, output)) {
    std::string_view line(buffer);
    line = line.substr(0, line.find_first_of(" \n"));  // it may add "(discriminator 3)"
    const size_t colon = line.rfind(':');
    if (colon == line.npos || is_ours(line.substr(0, colon))) continue;
    if (!lines.empty()) lines += " < ";
    lines += line.substr(line.rfind('/') + 1);
  }
  pclose(output);
  return lines.empty() ? std::string("offset ") + number : lines;
}

}  // namespace emulator
