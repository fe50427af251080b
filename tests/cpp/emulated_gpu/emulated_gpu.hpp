// A GPU played by a processor, so that kernels and the code that drives them can be tested without one.
//
// The threads of a block are coroutines that run until they wait for one another; blocks, warps and lanes
// take their turns in an order that ZNAS_EMULATED_GPU_SEED shuffles. Memory that is handed out holds NaN.
// What a stream is given begins when somebody waits for the stream, copies from and to the host too. Lanes
// that wait for one that has ended, or for one that does something else, end the program. What it cannot
// show: speed, and races between threads that are harmless in these orders.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#ifdef __F16C__
#include <immintrin.h>
#endif

#undef __shared__
#define __shared__ static thread_local
#undef __launch_bounds__
#define __launch_bounds__(...)
#define ZNAS_UNROLL
#define ZNAS_ROLL
#undef __grid_constant__
#define __grid_constant__

extern thread_local constinit uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace znas::emulated {

constexpr unsigned kLanes = 32;

// Queues every thread of every block, to be run to its end.
void run(std::function<void()> thread, dim3 grid, dim3 block, cudaStream_t stream);

// Waits until all threads of the block that have not ended wait here.
void wait_for_block();
// Waits until all lanes of the warp have handed in their share; the last one does what is to be done with
// them.
void wait_for_warp(void* share, void (*together)(void* const* shares));
unsigned lane();
// Ends the program.
[[noreturn]] void fail(const char* what);

// What all lanes handed in.
template <class Share>
struct Lanes {
    void* const* shares;
    Share& operator[](unsigned lane) const { return *static_cast<Share*>(shares[lane]); }
};

template <class T>
T shuffle(unsigned lanes, T value, unsigned from) {
    if (lanes != 0xFFFFFFFFU) fail("a shuffle of some lanes");
    struct Share {
        T value, found;
        unsigned from;
    };
    Share mine{value, value, from % kLanes};
    wait_for_warp(&mine, [](void* const* shares) {
        const Lanes<Share> all{shares};
        for (unsigned l = 0; l < kLanes; ++l) all[l].found = all[all[l].from].value;
    });
    return mine.found;
}

// Half: BFloat16 or Float16 of elements.hpp.
template <class Half, unsigned kCount>
void widen(const std::uint16_t (&halves)[kCount], float (&floats)[kCount]) {
    static_assert(kCount % 8 == 0);
    if constexpr (Half::kBrain) {
        for (unsigned i = 0; i < kCount; ++i)
            floats[i] = std::bit_cast<float>(std::uint32_t{halves[i]} << 16);
    } else {
#ifdef __F16C__
        for (unsigned i = 0; i < kCount; i += 8) {
            const auto eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + i));
            _mm256_storeu_ps(floats + i, _mm256_cvtph_ps(eight));
        }
#else
        for (unsigned i = 0; i < kCount; ++i) floats[i] = Half::widen(halves[i]).x;
#endif
    }
}

}  // namespace znas::emulated

inline void __syncthreads() { znas::emulated::wait_for_block(); }
inline void __syncwarp() {
    znas::emulated::wait_for_warp(nullptr, [](void* const*) {});
}
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long more) {
    const unsigned long long before = *to;
    *to += more;
    return before;
}
inline int atomicAdd(int* to, int more) {
    const int before = *to;
    *to += more;
    return before;
}
inline unsigned long long atomicCAS(unsigned long long* to, unsigned long long expected,
                                    unsigned long long value) {
    const unsigned long long before = *to;
    if (before == expected) *to = value;
    return before;
}
inline int atomicMax(int* to, int value) {
    const int before = *to;
    *to = std::max(before, value);
    return before;
}
template <class T>
T __ldg(const T* from) {
    if (reinterpret_cast<std::uintptr_t>(from) % alignof(T) != 0) znas::emulated::fail("a misaligned read");
    return *from;
}
template <class T>
T __shfl_sync(unsigned lanes, T value, int from) {
    return znas::emulated::shuffle(lanes, value, static_cast<unsigned>(from));
}
template <class T>
T __shfl_xor_sync(unsigned lanes, T value, int mask) {
    return znas::emulated::shuffle(lanes, value, znas::emulated::lane() ^ static_cast<unsigned>(mask));
}

namespace znas::cuda {

using std::max;
using std::min;

inline void keep(int&) {}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, cudaStream_t stream,
                   Arguments... arguments) {
    emulated::run([=] { kernel(arguments...); }, grid, block, stream);
    return cudaGetLastError();
}

// mma.m16n8k16, which element of the matrices is a lane's i-th as PTX ISA words it.
template <class Half>
void multiply_add(float (&upper)[2], float (&lower)[2], const std::uint32_t (&a)[4], std::uint32_t b0,
                  std::uint32_t b1) {
    struct Share {
        std::uint32_t a[4], b[2];
        float c[4];
    };
    Share mine{{a[0], a[1], a[2], a[3]}, {b0, b1}, {upper[0], upper[1], lower[0], lower[1]}};
    emulated::wait_for_warp(&mine, [](void* const* shares) {
        const emulated::Lanes<Share> all{shares};
        std::uint16_t a_halves[16 * 16], b_halves[16 * 8];
        float a[16 * 16], b[16 * 8], c[16][8];
        for (unsigned lane = 0; lane < emulated::kLanes; ++lane) {
            const unsigned group = lane >> 2, in_group = lane % 4;
            std::uint16_t a_own[8], b_own[4];
            std::memcpy(a_own, all[lane].a, sizeof a_own);
            std::memcpy(b_own, all[lane].b, sizeof b_own);
            for (unsigned i = 0; i < 8; ++i) {
                const unsigned row = i < 2 || (4 <= i && i < 6) ? group : group + 8;
                const unsigned column = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
                a_halves[row * 16 + column] = a_own[i];
            }
            for (unsigned i = 0; i < 4; ++i) {
                const unsigned row = i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
                b_halves[row * 8 + group] = b_own[i];
            }
            for (unsigned i = 0; i < 4; ++i) {
                c[i < 2 ? group : group + 8][in_group * 2 + (i & 1)] = all[lane].c[i];
            }
        }
        emulated::widen<Half>(a_halves, a);
        emulated::widen<Half>(b_halves, b);
        for (unsigned row = 0; row < 16; ++row) {
            for (unsigned k = 0; k < 16; ++k) {
                for (unsigned column = 0; column < 8; ++column)
                    c[row][column] += a[row * 16 + k] * b[k * 8 + column];
            }
        }
        for (unsigned lane = 0; lane < emulated::kLanes; ++lane) {
            const unsigned group = lane >> 2, in_group = lane % 4;
            for (unsigned i = 0; i < 4; ++i) {
                all[lane].c[i] = c[i < 2 ? group : group + 8][in_group * 2 + (i & 1)];
            }
        }
    });
    upper[0] = mine.c[0];
    upper[1] = mine.c[1];
    lower[0] = mine.c[2];
    lower[1] = mine.c[3];
}

// mma.m16n8k256 of bits, likewise.
inline void add_common_bits(int (&sums)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    struct Share {
        std::uint32_t a[4], b[2];
        int* sums;
    };
    Share mine{{a[0], a[1], a[2], a[3]}, {b0, b1}, sums};
    emulated::wait_for_warp(&mine, [](void* const* shares) {
        const emulated::Lanes<Share> all{shares};
        // 32 bits at a time: their first one is the i-th of the lane, i a multiple of 32.
        std::uint32_t a[16][8], b[8][8];
        for (unsigned lane = 0; lane < emulated::kLanes; ++lane) {
            const unsigned group = lane >> 2, in_group = lane % 4;
            for (unsigned i = 0; i < 128; i += 32) {
                const unsigned row = i < 32 || (64 <= i && i < 96) ? group : group + 8;
                const unsigned column = i < 64 ? in_group * 32 : in_group * 32 + 128;
                a[row][column / 32] = all[lane].a[i / 32];
            }
            for (unsigned i = 0; i < 64; i += 32) {
                const unsigned row = i < 32 ? in_group * 32 : in_group * 32 + 128;
                b[group][row / 32] = all[lane].b[i / 32];
            }
        }
        for (unsigned lane = 0; lane < emulated::kLanes; ++lane) {
            const unsigned group = lane >> 2, in_group = lane % 4;
            for (unsigned i = 0; i < 4; ++i) {
                const unsigned row = i < 2 ? group : group + 8, column = in_group * 2 + (i & 1);
                for (unsigned w = 0; w < 8; ++w) all[lane].sums[i] += std::popcount(a[row][w] & b[column][w]);
            }
        }
    });
}

}  // namespace znas::cuda
