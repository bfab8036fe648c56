// Every cell of the table, in double: its backward step is the adjoint of its tangent, <w, J v> =
// <J^T w, v> with J v by dual numbers; the tangent itself is the slope of the step; and the dual of the
// backward step is the slope of the backward step. All to rounding.
#include <cmath>
#include <cstdio>
#include <random>
#include <string>

#include "cells/dual.h"
#include "cells/table.h"

namespace {

using namespace fused_rnn;
using D = Dual<double>;

int failures = 0;
std::mt19937_64 generator(0);

double normal() { return std::normal_distribution<double>()(generator); }

template <class Cell, class T>
struct Point {  // what a step reads
  T x[Cell::kGates], r[Cell::kGates];
  State<T> before;
};

template <class Cell, class F>
void for_each(const F& f) {  // f(member) for every number of a point
  for (int g = 0; g < Cell::kGates; ++g) {
    f([g](auto& p) -> auto& { return p.x[g]; });
    f([g](auto& p) -> auto& { return p.r[g]; });
  }
  f([](auto& p) -> auto& { return p.before.h; });
  if (Cell::kHasC) f([](auto& p) -> auto& { return p.before.c; });
}

// The gradient of <w, step> with respect to the point.
template <class Cell, class T>
Point<Cell, T> gradient(const Point<Cell, T>& point, State<T> w) {
  T tape[Cell::kTape + 1];
  const State<T> after = Cell::step(point.x, point.r, point.before, tape);
  Point<Cell, T> grad{};
  grad.before = Cell::step_backward(tape, point.before, after, w, grad.x, grad.r);
  if (Cell::kSameGates) {
    for (int g = 0; g < Cell::kGates; ++g) grad.r[g] = grad.x[g];
  }
  if constexpr (Cell::kProjects) {
    const T again = Cell::hidden(tape, after.c);
    if constexpr (std::is_same_v<T, double>) {
      if (again != after.h) ++failures, std::printf("FAILED %s: hidden() is not h\n", Cell::kName);
    }
  }
  return grad;
}

template <class Cell>
double inner(const Point<Cell, double>& a, const Point<Cell, double>& b) {
  double sum = 0;
  for_each<Cell>([&](auto member) { sum += member(a) * member(b); });
  return sum;
}

void expect_close(const std::string& what, double a, double b, double tolerance) {
  if (std::abs(a - b) <= tolerance * (1 + std::abs(a))) return;
  ++failures;
  std::printf("FAILED %s: %.17g is not %.17g\n", what.c_str(), a, b);
}

template <class Cell>
void check(Cell) {
  const std::string name = Cell::kName;
  for (int trial = 0; trial < 1000; ++trial) {
    Point<Cell, double> value{}, direction{}, shifted[2];
    Point<Cell, D> dual{};
    for_each<Cell>(
        [&](auto member) { member(value) = 2 * normal(), member(direction) = normal(); });
    for_each<Cell>([&](auto member) { member(dual) = D{member(value), member(direction)}; });
    constexpr double kStep = 1e-6;
    for (int sign : {0, 1}) {
      for_each<Cell>([&](auto member) {
        member(shifted[sign]) = member(value) + (sign ? kStep : -kStep) * member(direction);
      });
    }
    const State<double> w{normal(), Cell::kHasC ? normal() : 0.};

    D dual_tape[Cell::kTape + 1];
    const State<D> tangent = Cell::step(dual.x, dual.r, dual.before, dual_tape);
    const double along = w.h * tangent.h.tangent + (Cell::kHasC ? w.c * tangent.c.tangent : 0);
    expect_close(name + ": <w, J v> = <J^T w, v>", inner<Cell>(gradient(value, w), direction),
                 along, 1e-12);

    // The same by what the step has left.
    double left[Cell::kTape + 1], activation[Cell::kGates], recurrent[Cell::kGates] = {};
    for (int k = 0; k < Cell::kTape; ++k) left[k] = dual_tape[k].value;
    Cell::recall(left, State<double>{tangent.h.value, tangent.c.value}, activation, recurrent);
    Known<double> known[Cell::kGates];
    for (int g = 0; g < Cell::kGates; ++g) {
      known[g] = {activation[g], direction.x[g]};
      dual.r[g].value = recurrent[g];
    }
    const State<D> again = Cell::step(known, dual.r, dual.before, dual_tape);
    expect_close(name + ": h of the step recalled", again.h.value, tangent.h.value, 0);
    expect_close(name + ": its tangent", again.h.tangent, tangent.h.tangent, 0);
    if (Cell::kHasC) expect_close(name + ": of c", again.c.tangent, tangent.c.tangent, 0);
    for (int g = 0; g < Cell::kGates; ++g) dual.r[g].value = value.r[g];

    if (name == "rnn_relu") continue;  // its slope jumps: differences across 0 mean nothing
    double slope = 0;
    for (int sign : {0, 1}) {
      double tape[Cell::kTape + 1];
      const State<double> after =
          Cell::step(shifted[sign].x, shifted[sign].r, shifted[sign].before, tape);
      slope += (sign ? 1 : -1) * (w.h * after.h + w.c * after.c) / (2 * kStep);
    }
    expect_close(name + ": tangent of the step", along, slope, 1e-7);

    const State<D> dual_w{{w.h, 0}, {w.c, 0}};
    const Point<Cell, D> second = gradient(dual, dual_w);
    const Point<Cell, double> up = gradient(shifted[1], w), down = gradient(shifted[0], w);
    for_each<Cell>([&](auto member) {
      expect_close(name + ": tangent of the backward step", member(second).tangent,
                   (member(up) - member(down)) / (2 * kStep), 1e-7);
    });
  }
}

}  // namespace

int main() {
  for (int row = 0; row < Cells::kSize; ++row) {
    Cells::visit(row, [&](auto cell) { check(cell); });
    std::printf("%s\n", Cells::kInfo[row].name);
  }
  return failures > 0;
}
