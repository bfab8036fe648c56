// Everything of the standard library that the kernels use, included before an ISA's target is set:
// an inline function compiled for that ISA could otherwise be the one that the linker keeps for
// all.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "cpu/kernels.h"
#include "cpu/memory.h"
