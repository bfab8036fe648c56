// Which instruction set's kernels run.
#include <atomic>

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

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
namespace amx {
extern const BFloat16Kernels kKernels;
}
#endif

namespace {

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

bool has_amx() { return has_avx512_bf16() && __builtin_cpu_supports("amx-bf16"); }

// Linux gives a process AMX's registers when it asks for them, once and for all: 8 KB more that signals leave on a
// stack. So it is asked when they are used first.
bool may_use_amx() {
#ifdef __linux__
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // Documentation/arch/x86/xstate.rst
  static const bool may = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return may;
#else
  return false;
#endif
}

// AMX's; AVX-512's where the system refuses it (which there are faster than those of avx512_bf16).
const BFloat16Kernels& amx_or_avx512() {
  return may_use_amx() ? amx::kKernels : avx512::kTable.bf16;
}
constexpr BFloat16Kernels kAmxKernels = {
    [](int cell, const Forward<float, BFloat16Pair>& args) { amx_or_avx512().forward(cell, args); },
    [](int cell, const Backward<float, BFloat16Pair>& args) {
      amx_or_avx512().backward(cell, args);
    }};

// AVX-512's, but what multiplies bfloat16.
KernelTable with_bfloat16(const BFloat16Kernels& kernels) {
  KernelTable table = avx512::kTable;
  table.bf16 = kernels;
  return table;
}
const KernelTable kAvx512Bf16Table = with_bfloat16(avx512_bf16::kKernels),
                  kAmxTable = with_bfloat16(kAmxKernels);
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
    {Isa::kAvx512Bf16, "avx512_bf16", &kAvx512Bf16Table, has_avx512_bf16},
    {Isa::kAmx, "amx", &kAmxTable, has_amx},
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
