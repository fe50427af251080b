// A GPU played by a processor, so that kernels and the code that drives them can be tested without one.
//
// The threads of a block are coroutines that yield where they wait for one another; blocks follow one
// another, the last first. Memory that is handed out holds NaN. What it cannot show: speed, and races
// between threads that happen to be harmless in this order.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#undef __shared__
#define __shared__ static thread_local
#undef __launch_bounds__
#define __launch_bounds__(...)
#define ZNAS_UNROLL
#define ZNAS_ROLL
#undef __grid_constant__
#define __grid_constant__

extern thread_local uint3 threadIdx, blockIdx;
extern thread_local dim3 blockDim, gridDim;

namespace znas::emulated {

// Runs every thread of every block to its end.
cudaError_t run(const std::function<void()>& thread, dim3 grid, dim3 block);

struct Slot {
    alignas(16) char bytes[48];
};
using Slots = std::array<Slot, 32>;

void wait_for_block();
// Waits until all lanes of the warp have handed in their slot; what all handed in.
const Slots& exchange(const Slot& slot);
unsigned lane();

// What every lane handed in; valid until the second exchange from here.
template <class T>
struct Lanes {
    const Slots& slots;
    const T* operator[](unsigned lane) const { return reinterpret_cast<const T*>(slots[lane].bytes); }
};

template <class T>
Lanes<T> all_lanes(const T& mine) {
    static_assert(sizeof(T) <= sizeof(Slot));
    Slot slot;
    std::memcpy(slot.bytes, &mine, sizeof mine);
    return {exchange(slot)};
}

}  // namespace znas::emulated

inline void __syncthreads() { znas::emulated::wait_for_block(); }
inline void __syncwarp() {}  // lanes meet where they exchange something
inline int __popcll(unsigned long long word) { return __builtin_popcountll(word); }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long more) {
    const unsigned long long before = *to;
    *to += more;
    return before;
}
inline int atomicMax(int* to, int value) {
    const int before = *to;
    *to = std::max(before, value);
    return before;
}
template <class T>
T __ldg(const T* from) {
    return *from;
}
template <class T>
T __shfl_sync(unsigned, T value, int from) {
    return *znas::emulated::all_lanes(value)[static_cast<unsigned>(from)];
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
    return *znas::emulated::all_lanes(value)[znas::emulated::lane() ^ static_cast<unsigned>(mask)];
}

namespace znas::cuda {

using std::max;
using std::min;

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t,
                   Arguments... arguments) {
    return emulated::run([=] { kernel(arguments...); }, grid, block);
}

// The layout of mma.m16n8k16: lane 4 g + j has rows g and g + 8 of a and of the sums, and column g of b.
template <class Half>
void multiply_add(float (&upper)[2], float (&lower)[2], const std::uint32_t (&a)[4], std::uint32_t b0,
                  std::uint32_t b1) {
    struct Share {
        float2 a[4], b[2];
    };
    const Share mine{{Half::widen(a[0]), Half::widen(a[1]), Half::widen(a[2]), Half::widen(a[3])},
                     {Half::widen(b0), Half::widen(b1)}};
    const auto shares = emulated::all_lanes(mine);
    const unsigned g = emulated::lane() / 4, j = emulated::lane() % 4;
    for (unsigned column = 0; column < 2; ++column) {
        for (unsigned i = 0; i < 4; ++i) {
            for (unsigned half = 0; half < 2; ++half) {
                const float2& w = shares[4 * (2 * j + column) + i]->b[half];
                const float2 &x = shares[4 * g + i]->a[2 * half], &y = shares[4 * g + i]->a[2 * half + 1];
                upper[column] += x.x * w.x + x.y * w.y;
                lower[column] += y.x * w.x + y.y * w.y;
            }
        }
    }
}

// The layout of mma.m16n8k256: lane 4 g + j has the bits 32 j .. and 128 + 32 j .. of rows g and g + 8 of a and of
// column g of b, and the sums of columns 2 j and 2 j + 1.
inline void add_common_bits(int (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    struct Share {
        std::uint32_t a[4], b[2];
    };
    const Share mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
    const auto shares = emulated::all_lanes(mine);
    const unsigned g = emulated::lane() / 4, j = emulated::lane() % 4;
    for (unsigned i = 0; i < 4; ++i) {
        for (unsigned c = 0; c < 4; ++c) {
            const Share &row = *shares[4 * g + i], &column = *shares[4 * (2 * j + c % 2) + i];
            sums[c] += __builtin_popcount(row.a[c / 2] & column.b[0]) +
                       __builtin_popcount(row.a[2 + c / 2] & column.b[1]);
        }
    }
}

}  // namespace znas::cuda
