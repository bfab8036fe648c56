#include "torch/check.h"

#include <c10/core/ScalarType.h>
#include <c10/core/SymBool.h>
#include <c10/util/Exception.h>

#include <initializer_list>
#include <string>

namespace fused_rnn {
namespace {

using c10::SymInt;

bool equal(const SymInt& a, const SymInt& b) { return a.sym_eq(b).expect_true(__FILE__, __LINE__); }

// As Python calls a dtype: float32, not Float.
std::string name_of(at::ScalarType dtype) { return std::string(c10::getDtypeNames(dtype).first); }

void check_strided(const char* name, const Tensor& tensor) {
  TORCH_CHECK(tensor.defined(), name, ": expected a tensor, but got an undefined one");
  TORCH_CHECK(tensor.layout() == c10::kStrided, name,
              ": expected a dense (strided) tensor, but got layout ", tensor.layout());
}

void check_rank(const char* name, const Tensor& tensor, int64_t rank, const char* shape) {
  TORCH_CHECK(tensor.dim() == rank, name, ": expected ", rank, " dimensions ", shape,
              ", but got shape ", tensor.sym_sizes());
}

void check_floating(const char* name, const Tensor& tensor) {
  check_strided(name, tensor);
  const auto dtype = tensor.scalar_type();
  TORCH_CHECK(
      dtype == at::kDouble || dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
      name, ": expected dtype float64, float32, bfloat16 or float16, but got ", name_of(dtype));
}

// A tensor with the dtype and device of the argument `like`, and this shape.
class Like {
 public:
  Like(const char* name, const Tensor& like) : name_(name), like_(like) {}

  void check(const char* name, const Tensor& tensor, std::initializer_list<SymInt> shape,
             const char* meaning, std::optional<at::ScalarType> dtype = std::nullopt) const {
    check_strided(name, tensor);
    const auto expected = dtype.value_or(like_.scalar_type());
    TORCH_CHECK(tensor.scalar_type() == expected, name, ": expected dtype ", name_of(expected),
                " (for ", name_, " of dtype ", name_of(like_.scalar_type()), "), but got ",
                name_of(tensor.scalar_type()));
    TORCH_CHECK(tensor.device() == like_.device(), name, ": expected device ", like_.device(),
                " (that of ", name_, "), but got ", tensor.device());
    bool fits = tensor.dim() == static_cast<int64_t>(shape.size());
    int64_t i = 0;
    for (const SymInt& size : shape) fits = fits && equal(tensor.sym_size(i++), size);
    TORCH_CHECK(fits, name, ": expected shape ", c10::SymIntArrayRef(shape), " ", meaning,
                ", but got ", tensor.sym_sizes());
  }

  void check(const char* name, const MaybeTensor& tensor, std::initializer_list<SymInt> shape,
             const char* meaning, std::optional<at::ScalarType> dtype = std::nullopt) const {
    if (defined(tensor)) check(name, *tensor, shape, meaning, dtype);
  }

 private:
  const char* name_;
  const Tensor& like_;
};

void check_present(const char* name, const MaybeTensor& tensor, bool expected,
                   const CellInfo& cell) {
  TORCH_CHECK(defined(tensor) == expected, name, ": expected ", expected ? "a tensor" : "None",
              " for the cell '", cell.name, "', but got ", expected ? "None" : "a tensor");
}

// Data on the CPU; a meta tensor only beside others, where there are no data at all.
void check_batch_sizes_type(const MaybeTensor& batch_sizes, const Tensor& rows_like) {
  if (!defined(batch_sizes)) return;
  check_strided("batch_sizes", *batch_sizes);
  TORCH_CHECK(batch_sizes->scalar_type() == at::kLong,
              "batch_sizes: expected dtype int64, but got ", name_of(batch_sizes->scalar_type()));
  TORCH_CHECK(batch_sizes->device().is_cpu() ||
                  (batch_sizes->device().is_meta() && rows_like.device().is_meta()),
              "batch_sizes: expected a tensor on the CPU, but got one on ", batch_sizes->device());
  check_rank("batch_sizes", *batch_sizes, 1, "[steps]");
}

// What both directions share, given the number of hidden units and of leading dimensions.
Sizes common(std::string_view cell, const Tensor& rows_like, const MaybeTensor& batch_sizes,
             const MaybeTensor& c_0, const Tensor& h_0, const MaybeTensor& weight_hr) {
  Sizes sizes;
  sizes.row = find_cell(cell);
  sizes.cell = Cells::kInfo[sizes.row];
  check_present("c_0", c_0, sizes.cell.has_c, sizes.cell);
  if (defined(weight_hr)) check_present("weight_hr", weight_hr, sizes.cell.projects, sizes.cell);
  check_batch_sizes_type(batch_sizes, rows_like);
  sizes.packed = defined(batch_sizes);
  const bool steps = rows_like.dim() == 3;
  check_strided("h_0", h_0);
  check_rank("h_0", h_0, 2, "[batch, hidden or proj_size]");
  sizes.leading.push_back(rows_like.sym_size(0));
  if (steps) sizes.leading.push_back(rows_like.sym_size(1));
  sizes.batch = sizes.packed ? h_0.sym_size(0) : sizes.leading.back();
  sizes.rows = steps ? sizes.leading[0] * sizes.leading[1] : sizes.leading[0];
  return sizes;
}

// The gates' number, a dimension of the tensor of that name, says how many hidden units there are,
// and weight_hr, where there is one, how wide h is.
void set_widths(Sizes& sizes, const char* name, const Tensor& tensor, const SymInt& gates,
                const MaybeTensor& weight_hr) {
  sizes.hidden = gates / sizes.cell.gates;
  TORCH_CHECK(gates.sym_gt(0).expect_true(__FILE__, __LINE__) &&
                  equal(sizes.hidden * sizes.cell.gates, gates),
              name, ": expected gates * hidden to be a positive multiple of the ", sizes.cell.gates,
              " gates of the cell '", sizes.cell.name, "', but got ", gates, " in shape ",
              tensor.sym_sizes());
  sizes.out = sizes.hidden;
  if (!defined(weight_hr)) return;
  check_rank("weight_hr", *weight_hr, 2, "[proj_size, hidden]");
  sizes.out = weight_hr->sym_size(0);
  TORCH_CHECK(sizes.out.sym_gt(0).expect_true(__FILE__, __LINE__),
              "weight_hr: expected shape [proj_size, hidden] with proj_size at least 1, but got ",
              weight_hr->sym_sizes());
}

void check_rows(const char* name, const Tensor& tensor, bool packed, const char* features) {
  check_floating(name, tensor);
  TORCH_CHECK(tensor.dim() == 2 || (tensor.dim() == 3 && !packed), name, ": expected ",
              packed ? "2 dimensions [rows, " : "3 dimensions [steps, batch, ", features, "]",
              packed ? " (with batch_sizes)" : ", or without steps for one", ", but got shape ",
              tensor.sym_sizes());
}

// What the forward ops take beside their rows.
template <class Inputs>
void check_state_and_weights(const Like& like, const Sizes& sizes, const SymInt& gates,
                             const Inputs& in) {
  like.check("h_0", in.h_0, {sizes.batch, sizes.out}, "[batch, hidden or proj_size]");
  like.check("c_0", in.c_0, {sizes.batch, sizes.hidden}, "[batch, hidden]");
  like.check("weight_hh", in.weight_hh, {gates, sizes.out},
             "[gates * hidden, hidden or proj_size]");
  like.check("weight_hr", in.weight_hr, {sizes.out, sizes.hidden}, "[proj_size, hidden]");
}

// An array with a row for each step and sequence.
template <class MaybeOrTensor>
void check_features(const Like& like, const Sizes& sizes, const char* name,
                    const MaybeOrTensor& tensor, const SymInt& width,
                    std::optional<at::ScalarType> dtype = std::nullopt) {
  if (sizes.leading.size() == 1) {
    like.check(name, tensor, {sizes.rows, width},
               sizes.packed ? "[rows, features]" : "[batch, features]", dtype);
  } else {
    like.check(name, tensor, {sizes.leading[0], sizes.leading[1], width},
               "[steps, batch, features]", dtype);
  }
}

// xg has the name that its op has for it.
Sizes check_projected(const char* name, const ForwardInputs& in) {
  check_rows(name, in.xg, defined(in.batch_sizes), "gates * hidden");
  Sizes sizes = common(in.cell, in.xg, in.batch_sizes, in.c_0, in.h_0, in.weight_hr);
  const SymInt gates = in.xg.sym_size(-1);
  set_widths(sizes, name, in.xg, gates, in.weight_hr);
  const Like like(name, in.xg);
  check_state_and_weights(like, sizes, gates, in);
  like.check("bias_hh", in.bias_hh, {gates}, "[gates * hidden]");
  return sizes;
}

// What recurrence_train keeps.
void check_kept(const Like& like, const Sizes& sizes, const Tensor& output,
                const MaybeTensor& cells, const MaybeTensor& tape, at::ScalarType dtype) {
  const auto compute = compute_dtype(dtype);
  check_present("cells", cells, sizes.cell.has_c, sizes.cell);
  check_present("tape", tape, sizes.cell.tape > 0, sizes.cell);
  check_features(like, sizes, "output", output, sizes.out);
  check_features(like, sizes, "cells", cells, sizes.hidden, compute);
  check_features(like, sizes, "tape", tape, sizes.hidden * sizes.cell.tape, compute);
}

}  // namespace

int find_cell(std::string_view name) {
  for (int row = 0; row < Cells::kSize; ++row) {
    if (name == Cells::kInfo[row].name) return row;
  }
  std::string known;
  for (int row = 0; row < Cells::kSize; ++row) {
    known += std::string(row ? ", '" : "'") + Cells::kInfo[row].name + "'";
  }
  TORCH_CHECK_VALUE(false, "cell: expected one of ", known, ", but got '", name, "'");
}

c10::SymDimVector Sizes::with(const SymInt& width) const {
  c10::SymDimVector shape = leading;
  shape.push_back(width);
  return shape;
}

Sizes check(const ForwardInputs& in) { return check_projected("xg", in); }

Sizes check(const LayerInputs& in) {
  check_rows("input", in.input, defined(in.batch_sizes), "features");
  Sizes sizes = common(in.cell, in.input, in.batch_sizes, in.c_0, in.h_0, in.weight_hr);
  check_strided("weight_ih", in.weight_ih);
  check_rank("weight_ih", in.weight_ih, 2, "[gates * hidden, features]");
  const SymInt gates = in.weight_ih.sym_size(0);
  set_widths(sizes, "weight_ih", in.weight_ih, gates, in.weight_hr);
  const Like like("input", in.input);
  like.check("weight_ih", in.weight_ih, {gates, in.input.sym_size(-1)},
             "[gates * hidden, features]");
  like.check("bias_ih", in.bias_ih, {gates}, "[gates * hidden]");
  check_state_and_weights(like, sizes, gates, in);
  like.check("bias_hh", in.bias_hh, {gates}, "[gates * hidden]");
  return sizes;
}

Sizes check(const BackwardInputs& in) {
  check_rows("output", in.output, defined(in.batch_sizes), "hidden or proj_size");
  Sizes sizes = common(in.cell, in.output, in.batch_sizes, in.c_0, in.h_0, in.weight_hr);
  check_strided("weight_hh", in.weight_hh);
  check_rank("weight_hh", in.weight_hh, 2, "[gates * hidden, hidden or proj_size]");
  const SymInt gates = in.weight_hh.sym_size(0);
  set_widths(sizes, "weight_hh", in.weight_hh, gates, in.weight_hr);
  if (!sizes.cell.has_c) check_present("grad_c_n", in.grad_c_n, false, sizes.cell);

  const Like like("output", in.output);
  check_kept(like, sizes, in.output, in.cells, in.tape, in.output.scalar_type());
  check_state_and_weights(like, sizes, gates, in);
  like.check("grad_h_n", in.grad_h_n, {sizes.batch, sizes.out}, "[batch, hidden or proj_size]");
  like.check("grad_c_n", in.grad_c_n, {sizes.batch, sizes.hidden}, "[batch, hidden]");
  check_features(like, sizes, "grad_output", in.grad_output, sizes.out);
  return sizes;
}

Sizes check(const DoubleBackwardInputs& in) {
  const Sizes sizes =
      defined(in.weight_ih)
          ? check({in.input, *in.weight_ih, in.bias_ih, in.h_0, in.c_0, in.weight_hh, in.bias_hh,
                   in.weight_hr, in.batch_sizes, in.cell, in.reverse})
          : check_projected("input", in.forward(in.input));
  const SymInt gates = in.weight_hh.sym_size(0);
  const Like like("input", in.input);
  TORCH_CHECK(!defined(in.bias_ih) || defined(in.weight_ih),
              "bias_ih: expected None without weight_ih, but got a tensor");
  if (!sizes.cell.has_c) {
    check_present("grad_c_n", in.grad_c_n, false, sizes.cell);
    check_present("along_c_0", in.along_c_0, false, sizes.cell);
  }
  TORCH_CHECK(!defined(in.along_bias_hh) || defined(in.bias_hh),
              "along_bias_hh: expected None without bias_hh, but got a tensor");
  TORCH_CHECK(!defined(in.along_weight_hr) || defined(in.weight_hr),
              "along_weight_hr: expected None without weight_hr, but got a tensor");
  check_features(like, sizes, "grad_output", in.grad_output, sizes.out);
  check_features(like, sizes, "along_xg", in.along_xg, gates);
  for (const auto& [name, tensor] :
       {std::pair("grad_h_n", &in.grad_h_n), std::pair("along_h_0", &in.along_h_0)}) {
    like.check(name, *tensor, {sizes.batch, sizes.out}, "[batch, hidden or proj_size]");
  }
  for (const auto& [name, tensor] :
       {std::pair("grad_c_n", &in.grad_c_n), std::pair("along_c_0", &in.along_c_0)}) {
    like.check(name, *tensor, {sizes.batch, sizes.hidden}, "[batch, hidden]");
  }
  like.check("along_weight_hh", in.along_weight_hh, {gates, sizes.out}, "as weight_hh");
  like.check("along_bias_hh", in.along_bias_hh, {gates}, "as bias_hh");
  like.check("along_weight_hr", in.along_weight_hr, {sizes.out, sizes.hidden}, "as weight_hr");
  check_kept(like, sizes, in.output, in.cells, in.tape, in.input.scalar_type());
  return sizes;
}

at::ScalarType compute_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace fused_rnn
