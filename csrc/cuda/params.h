// The border of the CUDA kernels: structs of pointers to device memory. S is the dtype that is
// stored, T = Compute<S>, and V what a kernel computes with: T or, for a derivative along a
// direction, Dual<T>. out = proj_size or, without projection, hidden.
#pragma once
#include "cuda/dtypes.h"
#include "cuda/runs.h"

namespace fused_rnn::cuda {

// The state before a step: of the first `kept` sequences the one that the step before made, of the
// others the initial one. Each is an array [size, hidden].
template <class S, class V>
struct Before {
  Array<const S, V> made, initial;
};

// What a step forward leaves in memory: rows [size, ...] of every array.
template <class S, class V>
struct Made {
  Array<S, V> h;              // [size, hidden]
  Array<Compute<S>, V> c;     // [size, hidden]         null: no c, or not kept
  Array<Compute<S>, V> tape;  // [size, tape * hidden]  null: no tape, or not kept
};

// What a step backward finds there: the same, the state before it, and the output's gradient.
template <class S, class V>
struct Saved {
  using T = Compute<S>;
  int64_t kept;
  Array<const S, V> grad_output;  // [size, hidden]  null: zero
  Array<const S, V> h;
  Array<const T, V> c, tape;
  Before<S, V> before_h;
  Before<T, V> before_c;
};

// The gradients of a step's gates, [size, gates * hidden] each.
template <class S, class V>
struct GateGradients {
  Array<S, V> d_xg;
  Array<S, V> dr;  // null: equal to d_xg
};

// One step forward, its matrix product done.
template <class S, class V>
struct StepForward {
  int64_t size, hidden, kept;
  Array<const S, V> xg;            // [size, gates * hidden]
  Array<const S, V> r;             // [size, gates * hidden]  h before @ weight_hh.T
  Array<const S, V> bias_hh;       // [gates * hidden]        null: zero
  Before<S, V> before_h;           //                         for cells that read it
  Before<Compute<S>, V> before_c;  //                         for cells that have it
  Made<S, V> made;
};

// One step backward; all after it has been done. `direct` and d_c belong to the sequences and are
// updated in place, [batch, hidden].
template <class S, class V>
struct StepBackward {
  using T = Compute<S>;
  int64_t size, hidden;
  Saved<S, V> saved;
  Array<const S, V> carry;  // [size, hidden]  what comes back through the matrix product
  Array<T, V> direct;       // what comes back beside it, for cells that read h
  Array<T, V> d_c;          // for cells that have c
  GateGradients<S, V> gates;
  Array<S, V> hidden_state;  // [size, hidden]  h before a projection, again  null: not wanted
};

// How a block of a persistent kernel shares its work (plan.h).
struct Shares {
  int slices;     // neighbouring lanes that share a dot product, a power of two
  int64_t pitch;  // elements from one row of the weights in shared memory to the next
};

// A whole sequence forward in one launch; no projection.
template <class S>
struct PersistentForward {
  using T = Compute<S>;
  Runs runs;
  int64_t batch, hidden;
  Shares shares;
  const S* xg;         // [rows, gates * hidden]
  const S* weight_hh;  // [gates * hidden, hidden]
  const S* bias_hh;    // [gates * hidden]  null: zero
  const S *h_0, *c_0;  // [batch, hidden]   c null: no c; so below
  S* output;           // [rows, hidden]
  S *h_n, *c_n;        // [batch, hidden]
  T* cells;            // [rows, hidden]         null: inference
  T* tape;             // [rows, tape * hidden]  null: no tape, or inference
};

// A whole sequence backward, but for the weights' gradients.
template <class S>
struct PersistentBackward {
  using T = Compute<S>;
  Runs runs;
  int64_t batch, hidden;
  Shares shares;
  const S *grad_output, *grad_h_n, *grad_c_n;  // null: zero
  const S *output, *h_0;                       // as forward left and had them
  const T *cells, *tape, *c_0;
  const S* weight_hh;
  S* d_xg;           // [rows, gates * hidden]
  S* dr;             // [rows, gates * hidden]  null: equal to d_xg
  S *d_h_0, *d_c_0;  // [batch, hidden]         null: not wanted, no c
};

}  // namespace fused_rnn::cuda
