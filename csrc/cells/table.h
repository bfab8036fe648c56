// The one table of cells: a cell is known to every backend and op by its row here.
#pragma once
#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/rnn.h"

namespace fused_rnn {

struct CellInfo {  // a cell's constants (cell.h) as values
  const char* name;
  int gates, tape;
  bool has_c, same_gates, reads_before, projects;
};

template <class... Cells>
struct CellTable {
  static constexpr int kSize = sizeof...(Cells);
  static constexpr CellInfo kInfo[] = {{Cells::kName, Cells::kGates, Cells::kTape, Cells::kHasC,
                                        Cells::kSameGates, Cells::kReadsBefore,
                                        Cells::kProjects}...};

  // Calls f with the cell of that row.
  template <class F>
  FR_HOST_FN static void visit(int row, const F& f) {
    int i = 0;
    ((i++ == row ? f(Cells{}) : void()), ...);
  }
};

using Cells = CellTable<RnnTanh, RnnRelu, Lstm, Gru>;

}  // namespace fused_rnn
