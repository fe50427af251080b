// CUDA's own header, with conversions that take the processor's instructions: its own ones are slow there.
#pragma once

#include_next <cuda_fp16.h>

#ifdef __F16C__

#include <immintrin.h>

namespace znas::emulated {

inline float2 widen_pair(const __half2& pair) {
    int bits;
    __builtin_memcpy(&bits, &pair, sizeof bits);
    const __m128 wide = _mm_cvtph_ps(_mm_cvtsi32_si128(bits));
    return {wide[0], wide[1]};
}

inline __half2 narrow_pair(float low, float high) {
    const __m128i narrow = _mm_cvtps_ph(_mm_setr_ps(low, high, 0, 0), _MM_FROUND_TO_NEAREST_INT);
    const int bits = _mm_cvtsi128_si32(narrow);
    __half2 pair;
    __builtin_memcpy(static_cast<void*>(&pair), &bits, sizeof bits);
    return pair;
}

}  // namespace znas::emulated

#define __half22float2 znas::emulated::widen_pair
#define __floats2half2_rn znas::emulated::narrow_pair

#endif
