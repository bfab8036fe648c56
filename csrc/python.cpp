// The Python module fused_rnn._C: what was built, and which instruction set runs. Loading it
// registers the ops of csrc/torch with PyTorch. No maths and no tensors here; the calls that take
// some are in torch/python_calls.cpp.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "cells/table.h"
#include "cpu/kernels.h"
#include "cuda_choice.h"  // written by setup.py
#include "torch/python_calls.h"

namespace fused_rnn {
namespace {

namespace py = pybind11;

std::string compiler() {
#if defined(__clang__)
  return "clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__) + "." +
         std::to_string(__clang_patchlevel__);
#elif defined(__GNUC__)
  return "gcc " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__) + "." +
         std::to_string(__GNUC_PATCHLEVEL__);
#else
  return "unknown";
#endif
}

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

bool has_cuda() {
#ifdef FUSED_RNN_CUDA
  return true;
#else
  return false;
#endif
}

std::vector<std::string> names(const std::vector<cpu::Isa>& isas) {
  std::vector<std::string> result;
  for (cpu::Isa isa : isas) result.emplace_back(cpu::name(isa));
  return result;
}

py::dict build_info() {
  py::dict info;
  info["torch"] = TORCH_VERSION;
  info["compiler"] = compiler();
  info["isas"] = names(cpu::compiled_isas());
  info["openmp"] = has_openmp();
  info["cuda"] = has_cuda();
  info["cuda_reason"] = cuda_choice::kReason;
  info["cuda_architectures"] = cuda_choice::kArchitectures;
  info["cuda_toolkit"] = cuda_choice::kToolkit;
  return info;
}

py::dict cells() {
  py::dict result;
  for (const CellInfo& cell : Cells::kInfo) {
    py::dict info;
    info["gates"] = cell.gates;
    info["has_c"] = cell.has_c;
    info["projects"] = cell.projects;
    result[cell.name] = info;
  }
  return result;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

void set_cpu_isa(const std::string& wanted) {
  for (cpu::Isa isa : cpu::available_isas()) {
    if (wanted == cpu::name(isa)) return cpu::set_isa(isa);
  }
  throw py::value_error("set_cpu_isa: expected one of " + join(names(cpu::available_isas())) +
                        " (compiled, and supported by this CPU), but got '" + wanted + "'");
}

int64_t multiply_adds(int64_t times) { return cpu::kernels().f32.multiply_adds(times); }

// The best of some tries of a millisecond or so.
double peak_gflops() {
  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (int i = 0; i < 40; ++i) {
    const auto start = Clock::now();
    const int64_t flops = multiply_adds(100'000);
    const std::chrono::duration<double, std::nano> time = Clock::now() - start;
    best = std::max(best, static_cast<double>(flops) / time.count());
  }
  return best;
}

}  // namespace
}  // namespace fused_rnn

PYBIND11_MODULE(_C, module) {
  using namespace fused_rnn;
  module.doc() = "Compiled part of fused_rnn; its ops are in torch.ops.fused_rnn.";
  if (PyModule_AddFunctions(module.ptr(), kPythonCalls) != 0) throw py::error_already_set();
  module.def("build_info", &build_info, "What was compiled, by which compiler, for which torch.");
  module.def("cells", &cells, "The table of cells: what each one has, by name.");
  module.def(
      "cpu_isa", [] { return std::string(cpu::name(cpu::current_isa())); },
      "Instruction set in use; it obeys ATEN_CPU_CAPABILITY at start.");
  module.def("set_cpu_isa", &set_cpu_isa, py::arg("name"),
             "Uses another of available_cpu_isas(); raises ValueError for any other name.");
  module.def("peak_gflops", &peak_gflops, py::call_guard<py::gil_scoped_release>(),
             "GF/s of one thread's float32 multiply-adds of registers, the instruction set in use; "
             "measured anew.");
  module.def("multiply_adds", &multiply_adds, py::arg("times"),
             py::call_guard<py::gil_scoped_release>(),
             "What `peak_gflops` measures, so many times; returns the floating-point operations.");
  module.def(
      "available_cpu_isas", [] { return names(cpu::available_isas()); },
      "Instruction sets that were compiled and that this CPU supports.");
}
