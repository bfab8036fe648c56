// CUDA on the host, for tests without a GPU: what a kernel file sees in place of <cuda_runtime.h>
// when a C++ compiler compiles it. Every CUDA thread is a fiber, all on the operating system's
// thread that launches; fibers change only inside the functions declared here. README.md says
// what this can find and what it cannot.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "emulator/launch.h"
#include "emulator/memory.h"
#include "emulator/runtime.h"
#include "emulator/types.h"
#include "emulator/warp.h"

#define threadIdx (::emulator::self->thread_idx)
#define blockIdx (::emulator::self->block_idx)
#define blockDim (::emulator::self->block_dim)
#define gridDim (::emulator::self->grid_dim)
