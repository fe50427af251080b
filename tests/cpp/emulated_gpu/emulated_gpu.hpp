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

extern thread_local uint3 threadIdx, blockIdx;
extern thread_local dim3 blockDim, gridDim;

namespace znas::emulated {

// Runs every thread of every block to its end.
cudaError_t run(const std::function<void()>& thread, dim3 grid, dim3 block);

inline constexpr std::size_t kSlotBytes = 32;
using Slots = std::array<std::array<char, kSlotBytes>, 32>;

void wait_for_block();
// Waits until all lanes of the warp have handed in their slot; what all handed in.
const Slots& exchange(const std::array<char, kSlotBytes>& slot);
unsigned lane();

template <class T>
std::array<T, 32> all_lanes(const T& mine) {
    static_assert(sizeof(T) <= kSlotBytes);
    std::array<char, kSlotBytes> slot{};
    std::memcpy(slot.data(), &mine, sizeof mine);
    const Slots& slots = exchange(slot);
    std::array<T, 32> found;
    for (std::size_t i = 0; i < found.size(); ++i) std::memcpy(&found[i], slots[i].data(), sizeof(T));
    return found;
}

}  // namespace znas::emulated

inline void __syncthreads() { znas::emulated::wait_for_block(); }
inline int __popcll(unsigned long long word) { return __builtin_popcountll(word); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long more) {
    const unsigned long long before = *to;
    *to += more;
    return before;
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
    return znas::emulated::all_lanes(value)[znas::emulated::lane() ^ static_cast<unsigned>(mask)];
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
        std::uint32_t a[4], b[2];
    };
    const auto shares = emulated::all_lanes(Share{{a[0], a[1], a[2], a[3]}, {b0, b1}});
    const unsigned g = emulated::lane() / 4, j = emulated::lane() % 4;
    for (unsigned column = 0; column < 2; ++column) {
        double sums[2] = {upper[column], lower[column]};
        for (unsigned row = 0; row < 2; ++row) {
            for (unsigned i = 0; i < 4; ++i) {
                for (unsigned half = 0; half < 2; ++half) {
                    const float2 x = Half::widen(shares[4 * g + i].a[row + 2 * half]);
                    const float2 w = Half::widen(shares[4 * (2 * j + column) + i].b[half]);
                    sums[row] += static_cast<double>(x.x) * static_cast<double>(w.x) +
                                 static_cast<double>(x.y) * static_cast<double>(w.y);
                }
            }
        }
        upper[column] = static_cast<float>(sums[0]);
        lower[column] = static_cast<float>(sums[1]);
    }
}

}  // namespace znas::cuda
