// What products read: float32 on CUDA cores, bfloat16 and float16 on tensor cores.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

namespace znas::cuda {

struct Float32 {
    static constexpr bool kTensorCores = false;
    using Four = float4;  // neighbouring channels of a pixel
    __host__ __device__ static float4 widen(const Four& four) { return four; }
    __host__ __device__ static Four narrow(const float4& four) { return four; }
};

template <class Pair>
__host__ __device__ std::uint32_t bits_of(const Pair& pair) {
    std::uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

template <class Pair>
__host__ __device__ Pair pair_of(std::uint32_t bits) {
    Pair pair;
    memcpy(static_cast<void*>(&pair), &bits, sizeof bits);
    return pair;
}

template <class Self>
struct Half {
    static constexpr bool kTensorCores = true;
    using Four = uint2;
    __host__ __device__ static float4 widen(const Four& four) {
        const float2 low = Self::widen(four.x), high = Self::widen(four.y);
        return {low.x, low.y, high.x, high.y};
    }
    __host__ __device__ static Four narrow(const float4& four) {
        return {Self::narrow(four.x, four.y), Self::narrow(four.z, four.w)};
    }
};

struct BFloat16 : Half<BFloat16> {
    static constexpr bool kBrain = true;
    using Half::narrow;
    using Half::widen;
    __host__ __device__ static float2 widen(std::uint32_t pair) {
        return __bfloat1622float2(pair_of<__nv_bfloat162>(pair));
    }
    __host__ __device__ static std::uint32_t narrow(float low, float high) {
        return bits_of(__floats2bfloat162_rn(low, high));
    }
};

struct Float16 : Half<Float16> {
    static constexpr bool kBrain = false;
    using Half::narrow;
    using Half::widen;
    __host__ __device__ static float2 widen(std::uint32_t pair) {
        return __half22float2(pair_of<__half2>(pair));
    }
    __host__ __device__ static std::uint32_t narrow(float low, float high) {
        return bits_of(__floats2half2_rn(low, high));
    }
};

}  // namespace znas::cuda
