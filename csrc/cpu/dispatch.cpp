// Which instruction set's kernels run, and the lists of steps they walk through.
#include <algorithm>
#include <atomic>

#include "cpu/kernels.h"

namespace fused_rnn::cpu {

namespace generic {
extern const KernelTable kTable;
}
#if defined(__x86_64__)
namespace avx2 {
extern const KernelTable kTable;
}
namespace avx512 {
extern const KernelTable kTable;
}
#endif

namespace {

struct IsaRow {
  Isa isa;
  const char* name;
  const KernelTable* table;
  bool (*supported)();
};

const IsaRow kIsas[] = {
    {Isa::kGeneric, "generic", &generic::kTable, [] { return true; }},
#if defined(__x86_64__)
    {Isa::kAvx2, "avx2", &avx2::kTable,
     [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
    {Isa::kAvx512, "avx512", &avx512::kTable,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
     }},
#endif
};

std::atomic<const IsaRow*> current = &kIsas[0];

}  // namespace

const char* name(Isa isa) {
  for (const IsaRow& row : kIsas) {
    if (row.isa == isa) return row.name;
  }
  return "unknown";
}

std::vector<Isa> compiled_isas() {
  std::vector<Isa> isas;
  for (const IsaRow& row : kIsas) isas.push_back(row.isa);
  return isas;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (const IsaRow& row : kIsas) {
    if (row.supported()) isas.push_back(row.isa);
  }
  return isas;
}

Isa current_isa() { return current.load()->isa; }

void set_isa(Isa isa) {
  for (const IsaRow& row : kIsas) {
    if (row.isa == isa && row.supported()) current = &row;
  }
}

const KernelTable& kernels() { return *current.load(std::memory_order_relaxed)->table; }

std::vector<Step> dense_steps(int64_t steps, int64_t batch, bool reverse) {
  std::vector<Step> list(steps);
  for (int64_t i = 0; i < steps; ++i) {
    list[i] = {(reverse ? steps - 1 - i : i) * batch, batch, i ? batch : 0};
  }
  return list;
}

std::vector<Step> packed_steps(const int64_t* batch_sizes, int64_t steps, bool reverse) {
  std::vector<Step> list(steps);
  int64_t row = 0;
  for (int64_t t = 0; t < steps; row += batch_sizes[t++]) list[t] = {row, batch_sizes[t], 0};
  if (reverse) std::reverse(list.begin(), list.end());
  for (int64_t i = 1; i < steps; ++i) list[i].kept = std::min(list[i].size, list[i - 1].size);
  return list;
}

}  // namespace fused_rnn::cpu
