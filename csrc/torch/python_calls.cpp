#include <torch/csrc/python_headers.h>
// After Python's.
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/TracerMode.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/python_numbers.h>

#include <algorithm>

#include "torch/check.h"
#include "torch/prepack.h"
#include "torch/python_calls.h"
#include "torch/stack.h"

namespace fused_rnn {
namespace {

// The arguments of a call as they come. They are not `plain` where only torch.ops will do: tensors of
// a subclass, a mode that wants to see the call, or arguments that are wrong.
class Arguments {
 public:
  Arguments(PyObject* const* objects, Py_ssize_t count) : objects_(objects), count_(count) {}

  // So many tensors, of which the required must be given, then a text, then bools, then `others`.
  bool plain(Py_ssize_t tensors, std::initializer_list<Py_ssize_t> required, Py_ssize_t bools,
             Py_ssize_t others = 0) const {
    if (count_ != tensors + 1 + bools + others || at::impl::torch_function_mode_enabled()) {
      return false;
    }
    for (Py_ssize_t i = 0; i < tensors; ++i) {
      if (objects_[i] != Py_None && !THPVariable_CheckExact(objects_[i])) return false;
    }
    for (const Py_ssize_t i : required) {
      if (objects_[i] == Py_None) return false;
    }
    for (Py_ssize_t i = tensors + 1; i < count_ - others; ++i) {
      if (!PyBool_Check(objects_[i])) return false;
    }
    return PyUnicode_Check(objects_[tensors]);
  }

  MaybeTensor maybe(Py_ssize_t i) const {
    if (objects_[i] == Py_None) return std::nullopt;
    return THPVariable_Unpack(objects_[i]);
  }
  const Tensor& tensor(Py_ssize_t i) const { return THPVariable_Unpack(objects_[i]); }
  std::string_view text(Py_ssize_t i) const {
    Py_ssize_t size;
    const char* data = PyUnicode_AsUTF8AndSize(objects_[i], &size);
    if (!data) throw python_error();
    return {data, static_cast<size_t>(size)};
  }
  bool integers(Py_ssize_t first, Py_ssize_t end) const {
    return std::all_of(objects_ + first, objects_ + end,
                       [](PyObject* o) { return PyLong_Check(o); });
  }
  int64_t integer(Py_ssize_t i) const { return THPUtils_unpackLong(objects_[i]); }
  bool truth(Py_ssize_t i) const { return objects_[i] == Py_True; }

 private:
  PyObject* const* objects_;
  Py_ssize_t count_;
};

PyObject* wrap(const Tensor& tensor) {
  if (!tensor.defined()) Py_RETURN_NONE;
  return THPVariable_Wrap(tensor);
}

PyObject* wrap(const MaybeTensor& tensor) { return wrap(tensor.value_or(Tensor())); }

template <class... Tensors>
PyObject* wrap_all(const Tensors&... tensors) {
  return py::make_tuple(py::reinterpret_steal<py::object>(wrap(tensors))...).release().ptr();
}

auto run(const LayerInputs& inputs) {
  const pybind11::gil_scoped_release no_gil;
  return call<Layer>(inputs);
}
auto run(const StackInputs& inputs) {
  const pybind11::gil_scoped_release no_gil;
  return stack_layers(inputs);
}

// layer(input, weight_ih, bias_ih, h_0, c_0, weight_hh, bias_hh, weight_hr, batch_sizes, cell, reverse)
PyObject* layer(PyObject*, PyObject* const* objects, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  const Arguments in(objects, count);
  if (!in.plain(9, {0, 1, 3, 5}, /*bools=*/1)) Py_RETURN_NONE;
  const auto bias_ih = in.maybe(2), c_0 = in.maybe(4), bias_hh = in.maybe(6);
  const auto weight_hr = in.maybe(7), batch_sizes = in.maybe(8);
  const auto [output, h_n, c_n] =
      run(LayerInputs{in.tensor(0), in.tensor(1), bias_ih, in.tensor(3), c_0, in.tensor(5), bias_hh,
                      weight_hr, batch_sizes, in.text(9), in.truth(10)});
  return wrap_all(output, h_n, c_n);
  END_HANDLE_TH_ERRORS
}

// Whether two tensors are on one device and of one dtype, or of those that autocast makes one.
bool goes_with(const Tensor& a, const Tensor& b) {
  const auto device = a.device().type();
  return a.device() == b.device() &&
         (a.scalar_type() == b.scalar_type() || (at::autocast::is_autocast_available(device) &&
                                                 at::autocast::is_autocast_enabled(device)));
}

// step(input, weight_ih, bias_ih, h, c, weight_hh, bias_hh, cell) of input [batch, features]
PyObject* step(PyObject*, PyObject* const* objects, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  const Arguments in(objects, count);
  if (!in.plain(7, {0, 1, 3, 5}, /*bools=*/0)) Py_RETURN_NONE;
  const Tensor &input = in.tensor(0), &weight_ih = in.tensor(1), &h = in.tensor(3);
  const auto bias_ih = in.maybe(2), c = in.maybe(4), bias_hh = in.maybe(6);
  const CellInfo& cell = Cells::kInfo[find_cell(in.text(7))];
  const auto is_state = [&](const Tensor& state) {
    return is_dense(state, 2) && state.sym_size(0) == input.sym_size(0) &&
           state.sym_size(1) * cell.gates == weight_ih.sym_size(0) && goes_with(state, input);
  };
  if (!is_dense(input, 2) || !is_dense(weight_ih, 2) || !goes_with(weight_ih, input) ||
      input.sym_size(1) != weight_ih.sym_size(1) || !is_state(h) || c.has_value() != cell.has_c ||
      (c && !is_state(*c))) {
    Py_RETURN_NONE;
  }
  const auto [output, h_n, c_n] =
      run(LayerInputs{input, weight_ih, bias_ih, h, c, in.tensor(5), bias_hh, std::nullopt,
                      std::nullopt, in.text(7), /*reverse=*/false});
  return wrap_all(h_n, c_n);
  END_HANDLE_TH_ERRORS
}

// stack(input, h_0, c_0, cell, has_bias, has_projection, bidirectional, batch_first, flat_weights,
//       input_size, hidden_size, num_layers)
PyObject* stack(PyObject*, PyObject* const* objects, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  const Arguments in(objects, count);
  if (!in.plain(3, {0}, /*bools=*/4, /*others=*/4) || !PyList_Check(objects[8]) ||
      !in.integers(9, 12) ||
      at::tracer::impl::is_dispatch_enabled()) {  // which takes sizes for constants
    Py_RETURN_NONE;
  }
  std::vector<Tensor> weights;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(objects[8]); ++i) {
    PyObject* weight = PyList_GET_ITEM(objects[8], i);
    if (!THPVariable_CheckExact(weight)) Py_RETURN_NONE;
    weights.push_back(THPVariable_Unpack(weight));
  }
  const auto h_0 = in.maybe(1), c_0 = in.maybe(2);
  const auto result =
      run(StackInputs{in.tensor(0), h_0, c_0, weights, in.truth(4), in.truth(5), in.truth(6),
                      in.truth(7), in.text(3), in.integer(9), in.integer(10), in.integer(11)});
  if (!result) Py_RETURN_NONE;
  const auto& [output, h_n, c_n] = *result;
  return wrap_all(output, h_n, c_n);
  END_HANDLE_TH_ERRORS
}

// prepack(weight, hidden_size)
PyObject* prepack_weight(PyObject*, PyObject* const* objects, Py_ssize_t count) {
  HANDLE_TH_ERRORS
  TORCH_CHECK_TYPE(count == 2 && THPVariable_Check(objects[0]) && PyLong_Check(objects[1]),
                   "prepack: expected a tensor and an int");
  if (!THPVariable_CheckExact(objects[0])) Py_RETURN_FALSE;  // it may have no memory of its own
  return PyBool_FromLong(prepack(THPVariable_Unpack(objects[0]), THPUtils_unpackLong(objects[1])));
  END_HANDLE_TH_ERRORS
}

template <class F>
PyMethodDef method(const char* name, F function, const char* doc) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
          METH_FASTCALL, doc};
}

}  // namespace

PyMethodDef kPythonCalls[] = {
    method("layer", layer,
           "torch.ops.fused_rnn.layer for plain tensors; None where only that will do."),
    method("step", step,
           "(h, c) after one step of layer for input [batch, features], likewise; None too where a "
           "rank, size, dtype or device is wrong."),
    method("stack", stack,
           "functional.stack of dense input without dropout, likewise; None too where torch.nn has "
           "words."),
    method("prepack", prepack_weight,
           "Packs a weight once, fused_rnn.prepack; False where it cannot."),
    {nullptr, nullptr, 0, nullptr}};

}  // namespace fused_rnn
