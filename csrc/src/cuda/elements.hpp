// What products read: float32 on CUDA cores, bfloat16 and float16 on tensor cores.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace znas::cuda {

// NaN wins.
__host__ __device__ inline float larger(float a, float b) {
#ifdef __CUDA_ARCH__
    float found;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(found) : "f"(a), "f"(b));
    return found;
#else
    return a >= b || a != a ? a : b;
#endif
}

// Number: four channels of what the few terms of a window are added up in; here float32. number and wide go
// from and to float32, number_of and four_of from and to what a plane has.
struct AddsFloats {
    using Number = float4;
    static constexpr bool kAddsPairs = false;
    __host__ __device__ static Number number(const float4& of) { return of; }
    __host__ __device__ static float4 wide(const Number& number) { return number; }
    __device__ static Number sum(const Number& a, const Number& b) {
        return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w};
    }
    __device__ static Number add_product(const Number& sum, const Number& a, const Number& b) {
        return {sum.x + a.x * b.x, sum.y + a.y * b.y, sum.z + a.z * b.z, sum.w + a.w * b.w};
    }
};

struct Float32 : AddsFloats {
    static constexpr bool kTensorCores = false;
    using Four = float4;  // neighbouring channels of a pixel
    using Element = float;
    __host__ __device__ static Element element(float x) { return x; }
    __host__ __device__ static Four zero() { return {0, 0, 0, 0}; }
    __device__ static Four lowest() { return {-INFINITY, -INFINITY, -INFINITY, -INFINITY}; }
    __device__ static Four larger(const Four& a, const Four& b) {
        return {cuda::larger(a.x, b.x), cuda::larger(a.y, b.y), cuda::larger(a.z, b.z),
                cuda::larger(a.w, b.w)};
    }
    __device__ static Four rectified(const Four& a) { return larger(a, zero()); }
    __host__ __device__ static float4 widen(const Four& four) { return four; }
    __host__ __device__ static Four narrow(const float4& four) { return four; }
    __device__ static Number number_of(const Four& four) { return four; }
    __device__ static Four four_of(const Number& number) { return number; }
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
    using Element = std::uint16_t;
    __host__ __device__ static Element element(float x) {
        return static_cast<Element>(Self::narrow(x, 0.0F) & 0xFFFFU);
    }
    __host__ __device__ static Four zero() { return {0, 0}; }
    __device__ static Four lowest() { return {Self::kLowest, Self::kLowest}; }
    __device__ static Four larger(const Four& a, const Four& b) {
        return {Self::larger_pair(a.x, b.x), Self::larger_pair(a.y, b.y)};
    }
    __device__ static Four rectified(const Four& a) { return larger(a, zero()); }
    // Where the instruction is not to be had: on a processor.
    static std::uint32_t larger_slowly(std::uint32_t a, std::uint32_t b) {
        const float2 x = Self::widen(a), y = Self::widen(b);
        return Self::narrow(cuda::larger(x.x, y.x), cuda::larger(x.y, y.y));
    }
    __host__ __device__ static float4 widen(const Four& four) {
        const float2 low = Self::widen(four.x), high = Self::widen(four.y);
        return {low.x, low.y, high.x, high.y};
    }
    __host__ __device__ static Four narrow(const float4& four) {
        return {Self::narrow(four.x, four.y), Self::narrow(four.z, four.w)};
    }
};

struct BFloat16 : Half<BFloat16>, AddsFloats {
    static constexpr bool kBrain = true;
    static constexpr std::uint32_t kLowest = 0xFF80FF80U;  // minus infinity, twice
    __device__ static std::uint32_t larger_pair(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
        return bits_of(__hmax2_nan(pair_of<__nv_bfloat162>(a), pair_of<__nv_bfloat162>(b)));
#else
        return larger_slowly(a, b);
#endif
    }
    using Half::narrow;
    using Half::widen;
    __host__ __device__ static float2 widen(std::uint32_t pair) {
        return __bfloat1622float2(pair_of<__nv_bfloat162>(pair));
    }
    __host__ __device__ static std::uint32_t narrow(float low, float high) {
        return bits_of(__floats2bfloat162_rn(low, high));
    }
    __device__ static Number number_of(const Four& four) { return widen(four); }
    __device__ static Four four_of(const Number& number) { return narrow(number); }
};

// Its eleven bits are enough to add up the few terms of a window in: two channels at a time.
struct Float16 : Half<Float16> {
    using Number = Four;
    static constexpr bool kAddsPairs = true;
    __device__ static Number number(const float4& of) { return narrow(of); }
    __device__ static float4 wide(const Number& number) { return widen(number); }
    __device__ static Number number_of(const Four& four) { return four; }
    __device__ static Four four_of(const Number& number) { return number; }
    __device__ static Number sum(const Number& a, const Number& b) { return {sum(a.x, b.x), sum(a.y, b.y)}; }
    // sum + a * b, rounded once
    __device__ static Number add_product(const Number& sum, const Number& a, const Number& b) {
        return {add_product(sum.x, a.x, b.x), add_product(sum.y, a.y, b.y)};
    }
    __device__ static std::uint32_t sum(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
        return bits_of(__hadd2(pair_of<__half2>(a), pair_of<__half2>(b)));
#else
        const float2 x = widen(a), y = widen(b);
        return narrow(x.x + y.x, x.y + y.y);
#endif
    }
    __device__ static std::uint32_t add_product(std::uint32_t sum, std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
        return bits_of(__hfma2(pair_of<__half2>(a), pair_of<__half2>(b), pair_of<__half2>(sum)));
#else
        const float2 s = widen(sum), x = widen(a), y = widen(b);
        return narrow(s.x + x.x * y.x, s.y + x.y * y.y);
#endif
    }
    static constexpr bool kBrain = false;
    static constexpr std::uint32_t kLowest = 0xFC00FC00U;  // minus infinity, twice
    __device__ static std::uint32_t larger_pair(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__
        return bits_of(__hmax2_nan(pair_of<__half2>(a), pair_of<__half2>(b)));
#else
        return larger_slowly(a, b);
#endif
    }
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
