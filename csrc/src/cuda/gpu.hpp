// What kernels ask of a GPU, and how they are started. With ZNAS_EMULATED_GPU the same sources run on a
// processor, for tests: see tests/cpp/emulated_gpu.
#pragma once

#ifdef ZNAS_EMULATED_GPU
#include "emulated_gpu.hpp"
#else

#include <cuda_runtime.h>

#include <cstdint>

// The loop that follows, so that arrays it indexes stay in registers; or once, so that code stays small.
#define ZNAS_UNROLL _Pragma("unroll")
#define ZNAS_ROLL _Pragma("unroll 1")

namespace znas::cuda {

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
                   Arguments... arguments) {
    // clang-format off
    kernel<<<grid, block, 0, stream>>>(arguments...);
    // clang-format on
    return cudaGetLastError();
}

// Hides how a number was made, so that it stays in its register instead of being made again at every use.
__device__ inline void keep(int& number) { asm("" : "+r"(number)); }

// The warp's [16, 8] sums += a [16, 16] * b [16, 8]; every lane holds its share as the instruction
// mma.m16n8k16 lays it out. Half: the type of the elements of a and b.
template <class Half>
__device__ inline void multiply_add(float (&upper)[2], float (&lower)[2], const std::uint32_t (&a)[4],
                                    std::uint32_t b0, std::uint32_t b1) {
    if constexpr (Half::kBrain) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};"
            : "+f"(upper[0]), "+f"(upper[1]), "+f"(lower[0]), "+f"(lower[1])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};"
            : "+f"(upper[0]), "+f"(upper[1]), "+f"(lower[0]), "+f"(lower[1])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
}

// sums += number of bits that are set in both: a [16, 256], b [256, 8], every lane's share as the instruction
// mma.m16n8k256 lays it out.
__device__ inline void add_common_bits(int (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                       std::uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace znas::cuda

#endif
