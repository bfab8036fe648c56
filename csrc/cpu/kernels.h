// The border between the CPU kernels and the rest: plain structs of pointers, and one table of
// functions an instruction set (ISA). Kernels know neither tensors nor threads' libraries.
#pragma once
#include <cstdint>
#include <type_traits>
#include <vector>

#include "steps.h"

namespace fused_rnn::cpu {

// Two bfloat16 values, the first in the lower half: their products with another pair are added up at once.
using BFloat16Pair = uint32_t;
template <class S>
constexpr int64_t kValues = std::is_same_v<S, BFloat16Pair> ? 2 : 1;  // in an element

// What forward and backward share. out = proj_size or, without projection, hidden. T: what is computed in. S:
// what is multiplied is stored in; where that is pairs, the fields `out` and `in` count them, but shapes values.
template <class T, class S = T>
struct Problem {
  const Step* steps;
  int64_t num_steps, rows, batch, hidden, out;
  const S* h_0;        // [batch, out]
  const T* c_0;        // [batch, hidden]         null: the cell has no c
  const S* weight_hh;  // [gates * hidden, out]
  const S* weight_hr;  // [out, hidden]           null: no projection
  int threads;
};

template <class T, class S = T>
struct Forward {
  Problem<T, S> problem;
  const T* xg;         // [rows, gates * hidden]        null: made from the next four
  const S* input;      // [rows, in]
  const S* weight_ih;  // [gates * hidden, in]
  const T* bias_ih;    // [gates * hidden]              null: zero
  int64_t in;
  const S* packed_ih;  // weight_ih as `pack` left it     null: not packed yet; so the next
  const S* packed_hh;  // weight_hh likewise, with packed_ih unless there is xg
  const T* bias_hh;    // [gates * hidden]        null: zero
  S* output;           // [rows, out]
  S* h_n;              // [batch, out]
  T* c_n;              // [batch, hidden]         null: no c
  T* cells;            // [rows, hidden] c        null: no c, or inference
  T* tape;             // [rows, tape * hidden]   null: no tape, or inference
};

template <class T, class S = T>
struct Backward {
  Problem<T, S> problem;
  const S* grad_output;  // [rows, out]             null: zero; so the next two
  const T* grad_h_n;     // [batch, out]
  const T* grad_c_n;     // [batch, hidden]
  const S* output;       // as forward left it; so the next two
  const T *cells, *tape;
  T* own_tape;     // the tape again, where it may be written over; else null
  S* d_xg;         // [rows, gates * hidden]; where tape and gates are as many and
                   // have one gradient, it may be own_tape
  T* d_h_0;        // [batch, out]                null: not wanted
  T* d_c_0;        // [batch, hidden]             null: no c
  T* d_weight_hh;  // [gates * hidden, out]       null: not wanted; so the next two
  T* d_bias_hh;    // [gates * hidden]
  T* d_weight_hr;  // [out, hidden]
};

// The gradients of sum(along * Backward's results), where Backward is a function of its gradients and of
// Forward's arguments. An array `along` has the shape of what it goes along; null: zero.
template <class T>
struct Second {
  Problem<T> problem;
  const T *output, *cells, *tape;              // as Forward left them
  const T *grad_output, *grad_h_n, *grad_c_n;  // as Backward's
  const T *along_xg, *along_h_0, *along_c_0, *along_weight_hh, *along_bias_hh, *along_weight_hr;
  T *d_grad_output, *d_grad_h_n, *d_grad_c_n;  // c's: null where there is no c
  T *d_xg, *d_h_0, *d_c_0;
  T *d_weight_hh, *d_bias_hh, *d_weight_hr;  // null: not wanted
};

// output = input @ weight.T + bias
template <class T>
struct Linear {
  int64_t rows, in, out;
  const T* input;   // [rows, in]
  const T* weight;  // [out, in]
  const T* bias;    // [out]      null: zero
  T* output;        // [rows, out]
  int threads;
};

template <class T>
struct LinearBackward {
  int64_t rows, in, out;
  const T* grad_output;  // [rows, out]
  const T* input;        // [rows, in]
  const T* weight;       // [out, in]
  T* d_input;            // [rows, in]  null: not wanted; so the next two
  T* d_weight;           // [out, in]
  T* d_bias;             // [out]
  int threads;
};

// `cell` is a row of the table in cells/table.h.
template <class T>
struct Kernels {
  void (*forward)(int cell, const Forward<T>&);
  // A weight [gates * hidden][k] as forward reads it, in packed[packed_size]. The layout is one for
  // all cells with so many gates.
  int64_t (*packed_size)(int cell, int64_t hidden, int64_t k);
  void (*pack)(int cell, int64_t hidden, int64_t k, const T* weight, T* packed);
  void (*backward)(int cell, const Backward<T>&);
  void (*second)(int cell, const Second<T>&);
  void (*linear)(const Linear<T>&);
  void (*linear_backward)(const LinearBackward<T>&);
  int64_t (*multiply_adds)(int64_t times);  // peak-inl.h
};

// Where bfloat16 is stored: without xg, packed weights and own_tape.
struct BFloat16Kernels {
  void (*forward)(int cell, const Forward<float, BFloat16Pair>&);
  void (*backward)(int cell, const Backward<float, BFloat16Pair>&);
};

struct KernelTable {
  Kernels<float> f32;
  Kernels<double> f64;
  BFloat16Kernels bf16;  // null: none
};

enum class Isa { kGeneric, kAvx2, kAvx512, kAvx512Bf16, kAmx };

const char* name(Isa isa);
std::vector<Isa> compiled_isas();
std::vector<Isa> available_isas();  // compiled, and this CPU has it
Isa current_isa();
void set_isa(Isa isa);  // one of available_isas()

// The kernels of the current ISA.
const KernelTable& kernels();

}  // namespace fused_rnn::cpu
