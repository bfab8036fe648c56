// Which CUDA thread runs next, and when a launch ends: all its threads have, one has failed, none
// can go on (deadlock), or all that can only poll (livelock).
#include "emulator/scheduler.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <map>
#include <mutex>
#include <numeric>
#include <utility>

namespace emulator {

Options options;
uint64_t switches = 0, launches = 0;
ThreadIndex* self = nullptr;

namespace {

uint3 index_in(dim3 shape, unsigned linear) {
  return {linear % shape.x, linear / shape.x % shape.y, linear / shape.x / shape.y};
}

class Launch {
 public:
  Launch(const LaunchShape& shape, void (*entry)(void*), void* argument);
  ~Launch();
  void run();

  // For the thread that runs.
  [[noreturn]] void end(std::string report);
  void make_ready(CudaThread& thread, bool spinning);
  void progress() { idle_polls_ = 0; }
  void idle_poll() { ++idle_polls_; }
  uint64_t random_number();

 private:
  static void thread_main();
  void start_block(unsigned linear);
  void end_thread(CudaThread& thread);
  CudaThread& take_ready();
  void check_exit(const CudaThread& thread);
  std::string stuck(const char* headline) const;

  const LaunchShape shape_;
  void (*const entry_)(void*);
  void* const argument_;
  const unsigned blocks_, threads_;  // of the grid, of a block
  std::vector<unsigned> order_;      // blocks in the order they start
  size_t started_ = 0;
  std::map<Block*, std::unique_ptr<Block>> alive_;
  std::vector<CudaThread*> all_;  // of the blocks alive
  std::deque<CudaThread*> ready_;
  uint64_t idle_polls_ = 0, random_state_;
  std::string error_;
  std::exception_ptr exception_;
};

Launch* launch = nullptr;
// Threads for use again: their stacks are mapped once. Never freed, so that leak checks see it.
std::vector<CudaThread*>& unused = *new std::vector<CudaThread*>;

Launch::Launch(const LaunchShape& shape, void (*entry)(void*), void* argument)
    : shape_(shape),
      entry_(entry),
      argument_(argument),
      blocks_(count(shape.grid)),
      threads_(count(shape.block)),
      order_(blocks_),
      random_state_(options.seed * 0x9E3779B97F4A7C15 | 1) {
  for (int i = 0; i < 8; ++i) random_number();  // seeds that are close part ways
  std::iota(order_.begin(), order_.end(), 0);
  if (options.order == Order::lifo) std::reverse(order_.begin(), order_.end());
  if (options.order == Order::random) {
    for (unsigned i = blocks_; i > 1; --i) std::swap(order_[i - 1], order_[random_number() % i]);
  }
  race::start_launch(blocks_, threads_);
  launch = this;
}

Launch::~Launch() {
  unused.insert(unused.end(), all_.begin(), all_.end());
  self = nullptr;
  launch = nullptr;
}

// xorshift64
uint64_t Launch::random_number() {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return random_state_;
}

void Launch::run() {
  const size_t resident = shape_.cooperative ? blocks_ : std::max(1u, options.resident_blocks);
  while (true) {
    while (alive_.size() < resident && started_ < blocks_) start_block(order_[started_++]);
    if (alive_.empty()) return;
    if (ready_.empty()) throw Error(stuck("deadlock: every thread waits"));
    CudaThread& thread = take_ready();
    self = &thread;
    ++switches;
    race::running(thread.in_launch);
    thread.fiber.resume();
    if (exception_) std::rethrow_exception(exception_);
    if (!error_.empty()) throw Error(error_);
    if (thread.done) end_thread(thread);
    if (idle_polls_ > uint64_t(options.livelock_polls_a_thread) * all_.size()) {
      throw Error(stuck("livelock: every thread waits or polls"));
    }
  }
}

void Launch::start_block(unsigned linear) {
  auto owner = std::make_unique<Block>();
  Block* block = owner.get();
  alive_[block] = std::move(owner);
  block->threads = threads_;
  block->shared_bytes = shape_.shared_bytes;
  block->warps.resize((threads_ + 31) / 32);
  for (unsigned i = 0; i < threads_; ++i) {
    if (unused.empty()) unused.push_back(new CudaThread);
    CudaThread& thread = *unused.back();
    unused.pop_back();
    all_.push_back(&thread);
    static_cast<ThreadIndex&>(thread) = {index_in(shape_.block, i), index_in(shape_.grid, linear),
                                         shape_.block, shape_.grid, i % 32};
    thread.block = block;
    thread.in_block = i;
    thread.in_launch = linear * threads_ + i;
    thread.done = false;
    thread.where = {"its start", {}};
    thread.copies = {};
    thread.fiber.start(thread_main);
    block->warps[i / 32].lanes |= 1u << i % 32;
    race::start_thread(thread.in_launch, thread);
    ready_.push_back(&thread);
  }
}

void Launch::thread_main() {
  CudaThread& thread = current();
  try {
    launch->entry_(launch->argument_);
    launch->check_exit(thread);
    thread.done = true;
  } catch (...) {  // not of the emulator: a kernel's own, or no memory
    launch->exception_ = std::current_exception();
  }
  thread.fiber.leave_forever();
}

void Launch::check_exit(const CudaThread& thread) {
  const CopyQueue& queue = thread.copies;
  if (!queue.copies.empty()) {
    emulator::fail(queue.copies.front().issued, "never waited for: the thread has exited");
  }
  const Barrier& barrier = thread.block->barrier;
  if (!barrier.waiting.empty()) {
    emulator::fail(barrier.first, name(thread) + " has exited, for which others of its block wait");
  }
  for (const auto& [mask, group] : thread.block->warps[thread.in_block / 32].groups) {
    if ((mask >> thread.lane & 1) && !group.barrier.waiting.empty()) {
      emulator::fail(group.barrier.first,
                     name(thread) + " has exited, for which others of its warp wait");
    }
  }
}

void Launch::end_thread(CudaThread& thread) {
  progress();
  Block* block = thread.block;
  block->warps[thread.in_block / 32].exited |= 1u << thread.lane;
  race::end_thread(thread.in_launch);
  if (++block->exited < block->threads) return;
  auto of_block = [&](CudaThread* other) { return other->block == block; };
  std::copy_if(all_.begin(), all_.end(), std::back_inserter(unused), of_block);
  std::erase_if(all_, of_block);
  alive_.erase(block);
}

CudaThread& Launch::take_ready() {
  if (options.order == Order::random) {
    std::swap(ready_.back(), ready_[random_number() % ready_.size()]);
  }
  const bool oldest = options.order == Order::fifo;
  CudaThread* thread = oldest ? ready_.front() : ready_.back();
  oldest ? ready_.pop_front() : ready_.pop_back();
  return *thread;
}

void Launch::make_ready(CudaThread& thread, bool spinning) {
  // Last in, first out, one that spins would be the next again, for ever.
  if (spinning && options.order == Order::lifo) {
    ready_.push_front(&thread);
  } else {
    ready_.push_back(&thread);
  }
}

void Launch::end(std::string report) {
  error_ = std::move(report);  // moved, since the stack it comes from is abandoned
  current().fiber.leave_forever();
}

// Where threads stand, and how many at each place.
std::string Launch::stuck(const char* headline) const {
  struct Place {
    unsigned threads = 0;
    std::string first;
  };
  std::map<std::string, Place> places;
  for (const CudaThread* thread : all_) {
    if (thread->done) continue;
    Place& place = places[text(thread->where)];
    if (place.threads++ == 0) place.first = name(*thread);
  }
  std::string report = headline;
  for (const auto& [where, place] : places) {
    report += "\n  " + std::to_string(place.threads) + " x " + where + ", first " + place.first;
  }
  return report;
}

}  // namespace

cudaError_t run(const LaunchShape& shape, void (*entry)(void*), void* argument) {
  if (self) throw std::logic_error("emulator: a kernel cannot launch another");
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (const cudaError_t error = refusal(shape); error != cudaSuccess) return error;
  ++launches;
  Launch(shape, entry, argument).run();
  return cudaSuccess;
}

void wait(Where where) {
  current().where = where;
  current().fiber.leave();
}

void wake(std::vector<CudaThread*>& threads) {
  launch->progress();
  for (CudaThread* thread : threads) launch->make_ready(*thread, false);
  threads.clear();
}

void let_others_run(Where where) {
  launch->make_ready(current(), false);
  wait(where);
}

void poll(Where where) {
  launch->idle_poll();
  launch->make_ready(current(), true);
  wait(where);
}

void may_switch(Where where) {
  launch->progress();
  if (options.order == Order::random && random_number() % 100 < options.preempt_percent) {
    let_others_run(where);
  }
}

void fence(Where where) {
  may_switch(where);
  race::fence();
}

void end_launch(std::string report) { launch->end(std::move(report)); }

uint64_t random_number() { return launch->random_number(); }

}  // namespace emulator
