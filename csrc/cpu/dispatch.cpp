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
namespace avx512_bf16 {
extern const BFloat16Kernels kKernels;
}
#endif

namespace {

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

// AVX-512's, but what multiplies bfloat16.
const KernelTable kAvx512Bf16 = [] {
  KernelTable table = avx512::kTable;
  table.bf16 = avx512_bf16::kKernels;
  return table;
}();
#endif

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
    {Isa::kAvx512, "avx512", &avx512::kTable, has_avx512},
    {Isa::kAvx512Bf16, "avx512_bf16", &kAvx512Bf16,
     [] { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }},
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
