// The Python module fused_rnn_emulated: the CUDA half of fused_rnn on CPU tensors, its kernels run
// by the emulator. While a Backend exists, it stands in for the CPU half; fused_rnn._C, which
// defines the ops, must be loaded before. A kernel that fails raises RuntimeError with the report.
#include <c10/util/Exception.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/library.h>

#include <optional>
#include <string>

#include "emulator/runtime.h"
#include "emulator/step_duals.h"
#include "torch/cuda.h"

namespace fused_rnn {
namespace {

namespace py = pybind11;

cuda::DeviceLimits limits{/*multiprocessors=*/4, /*shared_bytes=*/227 * 1024};

emulator::Order order_of(const std::string& name) {
  if (name == "fifo") return emulator::Order::fifo;
  if (name == "lifo") return emulator::Order::lifo;
  if (name == "random") return emulator::Order::random;
  throw py::value_error("order: expected fifo, lifo or random, but got '" + name + "'");
}

void set_options(const std::string& order, uint64_t seed, unsigned preempt_percent,
                 unsigned resident_blocks) {
  emulator::options.order = order_of(order);
  emulator::options.seed = seed;
  emulator::options.preempt_percent = preempt_percent;
  emulator::options.resident_blocks = resident_blocks;
}

// Plans are made for this device, and launches beyond it refused; with `real_shared_bytes`, beyond
// those.
void set_device(int multiprocessors, int64_t shared_bytes,
                std::optional<int64_t> real_shared_bytes) {
  limits = {multiprocessors, shared_bytes};
  emulator::options.max_shared_bytes =
      static_cast<size_t>(real_shared_bytes.value_or(shared_bytes));
}

using Plan = decltype(&cuda::plan_forward);

// A plan as a dictionary, or None for the step path.
template <Plan plan>
py::object plan_for(int gates, int64_t batch, int64_t hidden, int element_size, int compute_size,
                    int multiprocessors, int64_t shared_bytes) {
  const auto found =
      plan({gates, batch, hidden, element_size, compute_size}, {multiprocessors, shared_bytes});
  if (!found) return py::none();
  py::dict dict;
  dict["rows"] = found->rows;
  dict["slices"] = found->slices;
  dict["pitch"] = found->pitch;
  dict["threads"] = found->threads;
  dict["blocks"] = found->blocks;
  dict["shared_bytes"] = found->shared_bytes;
  return dict;
}

py::dict plan_step(int64_t size, int64_t hidden, int width) {
  const cuda::StepPlan found = cuda::plan_step(size, hidden, width);
  py::dict dict;
  dict["block"] = py::make_tuple(found.block_x, found.block_y);
  dict["grid"] = py::make_tuple(found.grid_x, found.grid_y);
  return dict;
}

template <Plan plan>
void define_plan(py::module_& module, const char* name) {
  module.def(name, &plan_for<plan>, py::kw_only(), py::arg("gates"), py::arg("batch"),
             py::arg("hidden"), py::arg("element_size"), py::arg("compute_size"),
             py::arg("multiprocessors"), py::arg("shared_bytes"), "See csrc/cuda/plan.h.");
}

// As functions of Python lists, in which None stands for an undefined tensor.
template <Tensors (*function)(const std::string&, const Tensors&)>
Tensors of_list(const std::string& cell, const std::vector<std::optional<at::Tensor>>& in) {
  Tensors tensors;
  for (const auto& tensor : in) tensors.push_back(tensor.value_or(at::Tensor()));
  return function(cell, tensors);
}

class Backend {
 public:
  void enter() {
    if (library_) throw py::value_error("this Backend is in use");
    // PyTorch warns once in a process that a kernel replaces another; here that is the purpose.
    struct Silent : c10::WarningHandler {
      void process(const c10::Warning&) override {}
    } silent;
    const c10::WarningUtils::WarningHandlerGuard guard(&silent);
    library_.emplace(torch::Library::IMPL, "fused_rnn", c10::DispatchKey::CPU, __FILE__, __LINE__);
    register_cuda_forward(*library_);
    register_cuda_backward(*library_);
  }
  void leave() { library_.reset(); }

 private:
  std::optional<torch::Library> library_;
};

}  // namespace

cuda::DeviceLimits device_limits(c10::Device) { return limits; }
cuda::Stream current_stream(c10::Device) { return nullptr; }

}  // namespace fused_rnn

PYBIND11_MODULE(fused_rnn_emulated, module) {
  using namespace fused_rnn;
  module.def("options", &set_options, py::kw_only(), py::arg("order") = "fifo", py::arg("seed") = 1,
             py::arg("preempt_percent") = 25, py::arg("resident_blocks") = 2,
             "How kernels run from now on; a run is a function of its inputs and these.");
  module.def("device", &set_device, py::kw_only(), py::arg("multiprocessors"),
             py::arg("shared_bytes"), py::arg("real_shared_bytes") = py::none(),
             "The limits of the device that is emulated.");
  define_plan<cuda::plan_forward>(module, "plan_forward");
  define_plan<cuda::plan_backward>(module, "plan_backward");
  module.def("plan_step", &plan_step, py::kw_only(), py::arg("size"), py::arg("hidden"),
             py::arg("width"), "See csrc/cuda/plan.h.");
  module.def("launches", [] { return emulator::launches; }, "Kernels run so far.");
  module.def("switches", [] { return emulator::switches; }, "Changes of CUDA thread so far.");
  module.def("step_forward_dual", &of_list<step_forward_dual>, "See emulator/step_duals.h.");
  module.def("step_backward_dual", &of_list<step_backward_dual>, "See emulator/step_duals.h.");
  py::class_<Backend>(module, "Backend", py::module_local(),
                      "A context in which the ops run the CUDA half on CPU tensors.")
      .def(py::init<>())
      .def("__enter__",
           [](py::object self) {
             self.cast<Backend&>().enter();
             return self;
           })
      .def("__exit__", [](Backend& self, const py::args&) { self.leave(); });
}
