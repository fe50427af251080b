// AVX-512 kernels. Compiled with AVX-512 flags: see kernel_table.hpp for what may be included here.
#include <immintrin.h>

#include "kernel_table.hpp"

namespace znas {

namespace {

// The first `count` of sixteen lanes; all of them from sixteen on.
__mmask16 first(std::size_t count) {
    return static_cast<__mmask16>(count < 16 ? (1U << count) - 1U : 0xFFFFU);
}

// The argmax is the label when nothing before it reaches its score and nothing after it exceeds it. The
// first sixteen classes are judged without a branch; most wrong rows of a longer list end there.
std::int64_t count_correct(const float* logits, const std::int64_t* labels, std::size_t rows,
                           std::size_t classes) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    std::int64_t correct = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        const float* scores = logits + row * classes;
        const std::int64_t label = labels[row];
        const __m512 score = _mm512_set1_ps(scores[label]);
        unsigned beaten = 0;
        for (std::size_t c = 0; c < classes && beaten == 0; c += 16) {
            const __mmask16 lanes = first(classes - c);
            const __m512 x = _mm512_maskz_loadu_ps(lanes, scores + c);
            const int distance = static_cast<int>(label - static_cast<std::int64_t>(c));
            const __mmask16 before = _mm512_mask_cmplt_epi32_mask(lanes, lane, _mm512_set1_epi32(distance));
            const __mmask16 reached = _mm512_mask_cmp_ps_mask(before, x, score, _CMP_GE_OQ);
            const __mmask16 exceeded = _mm512_mask_cmp_ps_mask(lanes, x, score, _CMP_GT_OQ);
            beaten = static_cast<unsigned>(reached) | exceeded;
        }
        correct += beaten == 0;
    }
    return correct;
}

void pack_floats(const float* activations, std::size_t units, std::uint64_t* code) {
    const __m512 zero = _mm512_setzero_ps();
    for (std::size_t begin = 0; begin < units; begin += 64) {
        std::uint64_t word = 0;
        for (std::size_t j = 0; j < 64 && begin + j < units; j += 16) {
            const __m512 x = _mm512_maskz_loadu_ps(first(units - begin - j), activations + begin + j);
            word |= std::uint64_t{_mm512_cmp_ps_mask(x, zero, _CMP_GT_OQ)} << j;
        }
        code[begin / 64] = word;
    }
}

void pack_bytes(const std::uint8_t* activations, std::size_t units, std::uint64_t* code) {
    for (std::size_t begin = 0; begin < units; begin += 64) {
        const std::size_t rest = units - begin;
        const __mmask64 lanes = rest < 64 ? (__mmask64{1} << rest) - 1 : ~__mmask64{0};
        const __m512i x = _mm512_maskz_loadu_epi8(lanes, activations + begin);
        code[begin / 64] = _mm512_test_epi8_mask(x, x);
    }
}

std::int64_t sum_lanes(__m512i x) {
    alignas(64) std::int64_t lanes[8];
    _mm512_store_si512(lanes, x);
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

// Adds, for each pair of rows, the differing bits of the words [w, w + 8) that `lanes` names.
template <typename Load>
void add_distances(const std::uint64_t* const* left, const std::uint64_t* const* right, Load load,
                   __m512i (&sums)[kTile][kTile]) {
    __m512i b[kTile];
#pragma GCC unroll 4
    for (std::size_t j = 0; j < kTile; ++j) b[j] = load(right[j]);
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kTile; ++i) {
        const __m512i a = load(left[i]);
#pragma GCC unroll 4
        for (std::size_t j = 0; j < kTile; ++j) {
            const __m512i differing = _mm512_popcnt_epi64(_mm512_xor_si512(a, b[j]));
            sums[i][j] = _mm512_add_epi64(sums[i][j], differing);
        }
    }
}

// All sixteen sums of a tile stay in registers; every word is loaded once per tile.
void hamming_tile(const std::uint64_t* const* left, const std::uint64_t* const* right, std::size_t words,
                  std::int64_t* distances) {
    __m512i sums[kTile][kTile];
    for (auto& row : sums) {
        for (__m512i& sum : row) sum = _mm512_setzero_si512();
    }
    std::size_t w = 0;
    for (; w + 8 <= words; w += 8) {
        add_distances(
            left, right, [w](const std::uint64_t* row) { return _mm512_loadu_si512(row + w); }, sums);
    }
    if (w < words) {
        const __mmask8 lanes = static_cast<__mmask8>((1U << (words - w)) - 1U);
        add_distances(
            left, right,
            [w, lanes](const std::uint64_t* row) { return _mm512_maskz_loadu_epi64(lanes, row + w); }, sums);
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kTile; ++i) {
#pragma GCC unroll 4
        for (std::size_t j = 0; j < kTile; ++j) {
            distances[i * kTile + j] += sum_lanes(sums[i][j]);
        }
    }
}

// GCC 12 takes what the forms without a mask leave undefined on purpose for a mistake.
__m256 low(__m512 x) { return _mm512_maskz_extractf32x8_ps(0xFF, x, 0); }
__m256 high(__m512 x) { return _mm512_maskz_extractf32x8_ps(0xFF, x, 1); }

double sum(const float* x, std::size_t count) {
    __m512d sums[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    for (std::size_t k = 0; k < count; k += kVector) {
        const __m512 part = _mm512_maskz_loadu_ps(first(count - k), x + k);
        sums[0] = _mm512_add_pd(sums[0], _mm512_maskz_cvtps_pd(0xFF, low(part)));
        sums[1] = _mm512_add_pd(sums[1], _mm512_maskz_cvtps_pd(0xFF, high(part)));
    }
    alignas(64) double lanes[8];
    _mm512_store_pd(lanes, _mm512_add_pd(sums[0], sums[1]));
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

__m256 halves(__m512 x) { return _mm256_add_ps(low(x), high(x)); }

// The sums over all lanes of four vectors.
__m256d sum_each(const __m512 (&x)[kTile]) {
    const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(halves(x[0]), halves(x[1])),
                                        _mm256_hadd_ps(halves(x[2]), halves(x[3])));
    return _mm256_cvtps_pd(_mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
}

// All sixteen sums of a tile stay in registers.
void dot_tile(const float* const* left, const float* const* right, std::size_t count, double* products) {
    __m512 sums[kTile][kTile];
    for (auto& row : sums) {
        for (__m512& each : row) each = _mm512_setzero_ps();
    }
    for (std::size_t k = 0; k < count; k += kVector) {
        __m512 b[kTile];
#pragma GCC unroll 4
        for (std::size_t j = 0; j < kTile; ++j) b[j] = _mm512_loadu_ps(right[j] + k);
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kTile; ++i) {
            const __m512 a = _mm512_loadu_ps(left[i] + k);
#pragma GCC unroll 4
            for (std::size_t j = 0; j < kTile; ++j) sums[i][j] = _mm512_fmadd_ps(a, b[j], sums[i][j]);
        }
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kTile; ++i) _mm256_storeu_pd(products + i * kTile, sum_each(sums[i]));
}

}  // namespace

const KernelTable kAvx512Kernels{count_correct, pack_floats, pack_bytes, hamming_tile, sum, dot_tile};

}  // namespace znas
