// Stacks and the change from one to another: a few instructions on x86-64, ucontext elsewhere.
// AddressSanitizer, which keeps the bounds of the running stack, is told of every change.
#include "emulator/fiber.h"

#include <sys/mman.h>

#include <cstdlib>
#include <stdexcept>

#if !defined(__x86_64__) && !defined(EMULATOR_UCONTEXT)
#define EMULATOR_UCONTEXT
#endif
#ifdef EMULATOR_UCONTEXT
#include <ucontext.h>
#endif
#ifdef EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {

struct Context {
#ifdef EMULATOR_UCONTEXT
  ucontext_t registers;
#else
  void* stack_pointer;
#endif
  void* fake_stack = nullptr;  // AddressSanitizer's
};

namespace {

constexpr size_t kGuardBytes = 4096;  // below the stack: an overflow is a fault, not corruption

Context scheduler;
#ifdef EMULATOR_ASAN
const void* scheduler_stack = nullptr;
size_t scheduler_stack_bytes = 0;
#endif
Fiber* starting = nullptr;

#ifdef EMULATOR_UCONTEXT

void change_stack(Context& from, Context& to) { swapcontext(&from.registers, &to.registers); }

void prepare(Context& context, char* stack, void (*function)()) {
  getcontext(&context.registers);
  context.registers.uc_stack.ss_sp = stack;
  context.registers.uc_stack.ss_size = Fiber::kStackBytes;
  context.registers.uc_link = nullptr;
  makecontext(&context.registers, function, 0);
}

#else

// Saves the registers that a function must preserve (System V) and restores those of `to`.
__attribute__((naked, noinline)) void change_registers(void** /*from: rdi*/, void* /*to: rsi*/) {
  asm("pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
      "movq %rsp, (%rdi)\n"
      "movq %rsi, %rsp\n"
      "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp\n"
      "ret");
}

void change_stack(Context& from, Context& to) {
  change_registers(&from.stack_pointer, to.stack_pointer);
}

void prepare(Context& context, char* stack, void (*function)()) {
  // As a call leaves it: when function begins, the stack pointer is 8 below a multiple of 16.
  void** top = reinterpret_cast<void**>(stack + Fiber::kStackBytes) - 1;
  *--top = reinterpret_cast<void*>(function);                // where change_registers returns to
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;  // and what it restores
  context.stack_pointer = top;
}

#endif

}  // namespace

Fiber::Fiber() : context_(std::make_unique<Context>()) {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
    throw std::runtime_error("no memory for a fiber's stack, which takes two of vm.max_map_count");
  }
  stack_ = static_cast<char*>(memory) + kGuardBytes;
}

Fiber::~Fiber() { munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes); }

void Fiber::start(void (*function)()) {
#ifdef EMULATOR_ASAN
  __asan_unpoison_memory_region(stack_, kStackBytes);  // what an abandoned fiber left behind
#endif
  function_ = function;
  context_->fake_stack = nullptr;
  prepare(*context_, stack_, &Fiber::enter);
}

void Fiber::enter() {
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
  starting->function_();
  std::abort();  // function must not return: there is nowhere to go
}

void Fiber::resume() {
  starting = this;
#ifdef EMULATOR_ASAN
  __sanitizer_start_switch_fiber(&scheduler.fake_stack, stack_, kStackBytes);
#endif
  change_stack(scheduler, *context_);
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(scheduler.fake_stack, nullptr, nullptr);
#endif
}

void Fiber::leave() {
#ifdef EMULATOR_ASAN
  __sanitizer_start_switch_fiber(&context_->fake_stack, scheduler_stack, scheduler_stack_bytes);
#endif
  change_stack(*context_, scheduler);
#ifdef EMULATOR_ASAN
  __sanitizer_finish_switch_fiber(context_->fake_stack, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

void Fiber::leave_forever() {
#ifdef EMULATOR_ASAN
  __sanitizer_start_switch_fiber(nullptr, scheduler_stack, scheduler_stack_bytes);
#endif
  change_stack(*context_, scheduler);
  std::abort();
}

}  // namespace emulator
