// What a cell is. A cell is a struct of constants and functions for ONE hidden unit, over a
// value type T; it knows no time, no memory and no storage dtype.
//
//   kGates      pre-activations a unit has; x[kGates] is the input's part of them, r[kGates] the
//               recurrent part (with bias_hh), in torch.nn's order
//   kTape       values that backward needs beside the states: tape[kTape], written by step
//   kPrepared   in a cell of two parts (below): how many of them prepare writes; finish writes the rest
//   kHasC       the state has a second value c
//   kSameGates  the gradients of x and r are equal: step_backward then leaves dr alone
//   kReadsBefore, kReadsAfter   whether before.h, after.h are read
//   kProjects   a projection may follow; hidden(tape, c) then says h again
//
//   step(x, r, before, tape) -> the state after; x may be of a type of its own (dual.h). Where the last
//               activation waits for others it is two parts, so that the first can be done for many units
//               before the second: prepare(x, r, before, tape) -> Last, finish(Last, before, tape) -> State
//   step_backward(tape, before, after, grad, dx, dr) -> the gradient that reaches `before` directly
//               (what reaches it through r is left to the matrix product with dr)
//   recall(tape, after, x, r)   step's arguments, as far as they are left: x[g] becomes the value of the
//               activation that x[g] and r[g] went into, and r[g], where tape has it, r[g] itself
#pragma once
#include "cells/numeric.h"

namespace fused_rnn {

template <class T>
struct State {
  T h, c;
};

template <class X, class T>
struct Last {  // what the last activation is of, and the gate it goes through
  X argument;
  T gate;
};

// The step of a cell that is prepare and finish.
template <class Cell>
struct InTwoParts {
  template <class X, class T>
  FR_FN static State<T> step(const X* x, const T* r, State<T> before, T* tape) {
    return Cell::finish(Cell::prepare(x, r, before, tape), before, tape);
  }
};

}  // namespace fused_rnn
