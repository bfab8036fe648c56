// Which instruction set's kernels run.
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

}  // namespace fused_rnn::cpu
