// The words of a report: who, and at which line of the source.
#include <string>
#include <utility>

#include "emulator/scheduler.h"

namespace emulator {

std::string name(const ThreadIndex& thread) {
  auto triple = [](uint3 v) {
    return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
  };
  return "block " + triple(thread.block_idx) + " thread " + triple(thread.thread_idx);
}

std::string text(Where where) {
  const std::string file = where.site.file_name();
  if (file.empty()) return where.what;
  return std::string(where.what) + " at " + file.substr(file.rfind('/') + 1) + ":" +
         std::to_string(where.site.line());
}

void fail(Where where, std::string message) {
  message += "\n  in " + text(where) + ", " + name(*self);
  end_launch(std::move(message));
}
void fail(Where where, const char* message) { fail(where, std::string(message)); }

}  // namespace emulator
