// A fiber: a function on a stack of its own that runs while it wants to. One operating-system
// thread runs all of a launch's fibers. They are resumed from one place, the scheduler, and go back
// there. No exception may leave a fiber's function, and a fiber may be abandoned at any time.
#pragma once
#include <cstddef>
#include <memory>

namespace emulator {

struct Context;  // where a stack goes on

class Fiber {
 public:
  static constexpr size_t kStackBytes = 256 * 1024;  // committed as it is used

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next resume() calls function() on the empty stack; function must end in leave_forever().
  void start(void (*function)());
  void resume();                      // from the scheduler, until the fiber leaves
  void leave();                       // from the fiber, until it is resumed
  [[noreturn]] void leave_forever();  // from the fiber

  bool holds(const void* address) const {
    return address >= stack_ && address < stack_ + kStackBytes;
  }

 private:
  static void enter();

  char* stack_;  // its lowest address
  std::unique_ptr<Context> context_;
  void (*function_)() = nullptr;
};

}  // namespace emulator
