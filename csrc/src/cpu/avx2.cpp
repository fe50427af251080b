// AVX2 kernels. Compiled with AVX2 flags: see kernel_table.hpp for what may be included here.
#include <immintrin.h>

#include "kernel_table.hpp"

namespace znas {

namespace {

// All ones in the first `count` of eight lanes; in all of them from eight on, in none below one.
__m256i first(std::int64_t count) {
    const int clamped = static_cast<int>(count < 0 ? 0 : count > 8 ? 8 : count);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(clamped), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Lanes that beat `score`: before the label those that reach it, from the label on those that exceed it.
__m256 beaten_by(const float* scores, __m256 score, std::int64_t classes, std::int64_t label) {
    const __m256i lanes = first(classes);
    const __m256 x = _mm256_maskload_ps(scores, lanes);
    const __m256 reached = _mm256_cmp_ps(x, score, _CMP_GE_OQ);
    const __m256 exceeded = _mm256_cmp_ps(x, score, _CMP_GT_OQ);
    const __m256 beaten = _mm256_blendv_ps(exceeded, reached, _mm256_castsi256_ps(first(label)));
    return _mm256_and_ps(beaten, _mm256_castsi256_ps(lanes));
}

// The argmax is the label when nothing before it reaches its score and nothing after it exceeds it. The
// first sixteen classes are judged without a branch; most wrong rows of a longer list end there.
std::int64_t count_correct(const float* logits, const std::int64_t* labels, std::size_t rows,
                           std::size_t classes) {
    const std::int64_t end = static_cast<std::int64_t>(classes);
    std::int64_t correct = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        const float* scores = logits + row * classes;
        const std::int64_t label = labels[row];
        const __m256 score = _mm256_set1_ps(scores[label]);
        int beaten = 0;
        for (std::int64_t c = 0; c < end && beaten == 0; c += 16) {
            const __m256 low = beaten_by(scores + c, score, end - c, label - c);
            const __m256 high = beaten_by(scores + c + 8, score, end - c - 8, label - c - 8);
            beaten = _mm256_movemask_ps(_mm256_or_ps(low, high));
        }
        correct += beaten == 0;
    }
    return correct;
}

// The signs of eight floats.
std::uint64_t signs(__m256 x) {
    return static_cast<std::uint64_t>(_mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ)));
}

void pack_floats(const float* activations, std::size_t units, std::uint64_t* code) {
    std::size_t begin = 0;
    for (; begin + 64 <= units; begin += 64) {
        std::uint64_t word = 0;
#pragma GCC unroll 8
        for (std::size_t j = 0; j < 64; j += 8) word |= signs(_mm256_loadu_ps(activations + begin + j)) << j;
        code[begin / 64] = word;
    }
    if (begin == units) return;
    std::uint64_t word = 0;
    for (std::size_t j = 0; begin + j < units; ++j) word |= std::uint64_t{activations[begin + j] > 0} << j;
    code[begin / 64] = word;
}

// The truth values of 32 bytes.
std::uint64_t truths(__m256i x) {
    const __m256i zeros = _mm256_cmpeq_epi8(x, _mm256_setzero_si256());
    return static_cast<std::uint32_t>(~_mm256_movemask_epi8(zeros));
}

void pack_bytes(const std::uint8_t* activations, std::size_t units, std::uint64_t* code) {
    std::size_t begin = 0;
    for (; begin + 64 <= units; begin += 64) {
        const auto* source = reinterpret_cast<const __m256i*>(activations + begin);
        code[begin / 64] = truths(_mm256_loadu_si256(source)) | truths(_mm256_loadu_si256(source + 1)) << 32;
    }
    if (begin == units) return;
    std::uint64_t word = 0;
    for (std::size_t j = 0; begin + j < units; ++j) word |= std::uint64_t{activations[begin + j] != 0} << j;
    code[begin / 64] = word;
}

// The number of ones in each byte: one table look-up per half byte.
__m256i popcount_bytes(__m256i x) {
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                           0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
    const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
    return _mm256_add_epi8(low, high);
}

std::int64_t sum_lanes(__m256i x) {
    const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return _mm_extract_epi64(pair, 0) + _mm_extract_epi64(pair, 1);
}

__m256i load(const std::uint64_t* words) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}

// Two rows against two rows. Counts gather in bytes: 31 times at most 8 ones fit, then they are widened.
void hamming_2x2(const std::uint64_t* const* left, const std::uint64_t* const* right, std::size_t words,
                 std::int64_t* distances) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i sum00 = zero, sum01 = zero, sum10 = zero, sum11 = zero;
    std::size_t w = 0;
    while (w + 4 <= words) {
        const std::size_t left_over = (words - w) / 4;
        const std::size_t stop = w + 4 * (left_over < 31 ? left_over : 31);
        __m256i bytes00 = zero, bytes01 = zero, bytes10 = zero, bytes11 = zero;
        for (; w < stop; w += 4) {
            const __m256i a0 = load(left[0] + w), a1 = load(left[1] + w);
            const __m256i b0 = load(right[0] + w), b1 = load(right[1] + w);
            bytes00 = _mm256_add_epi8(bytes00, popcount_bytes(_mm256_xor_si256(a0, b0)));
            bytes01 = _mm256_add_epi8(bytes01, popcount_bytes(_mm256_xor_si256(a0, b1)));
            bytes10 = _mm256_add_epi8(bytes10, popcount_bytes(_mm256_xor_si256(a1, b0)));
            bytes11 = _mm256_add_epi8(bytes11, popcount_bytes(_mm256_xor_si256(a1, b1)));
        }
        sum00 = _mm256_add_epi64(sum00, _mm256_sad_epu8(bytes00, zero));
        sum01 = _mm256_add_epi64(sum01, _mm256_sad_epu8(bytes01, zero));
        sum10 = _mm256_add_epi64(sum10, _mm256_sad_epu8(bytes10, zero));
        sum11 = _mm256_add_epi64(sum11, _mm256_sad_epu8(bytes11, zero));
    }
    distances[0] += sum_lanes(sum00);
    distances[1] += sum_lanes(sum01);
    distances[kTile] += sum_lanes(sum10);
    distances[kTile + 1] += sum_lanes(sum11);
    for (; w < words; ++w) {
        distances[0] += _mm_popcnt_u64(left[0][w] ^ right[0][w]);
        distances[1] += _mm_popcnt_u64(left[0][w] ^ right[1][w]);
        distances[kTile] += _mm_popcnt_u64(left[1][w] ^ right[0][w]);
        distances[kTile + 1] += _mm_popcnt_u64(left[1][w] ^ right[1][w]);
    }
}

void hamming_tile(const std::uint64_t* const* left, const std::uint64_t* const* right, std::size_t words,
                  std::int64_t* distances) {
    for (std::size_t i = 0; i < kTile; i += 2) {
        for (std::size_t j = 0; j < kTile; j += 2) {
            hamming_2x2(left + i, right + j, words, distances + i * kTile + j);
        }
    }
}

double sum(const float* x, std::size_t count) {
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    for (std::size_t k = 0; k < count; k += 8) {
        const __m256 part = _mm256_maskload_ps(x + k, first(static_cast<std::int64_t>(count - k)));
        low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(part)));
        high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(part, 1)));
    }
    alignas(32) double lanes[4];
    _mm256_store_pd(lanes, _mm256_add_pd(low, high));
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

// The sums over all lanes of two vectors.
__m128d sum_each(const __m256 (&x)[2]) {
    const __m256 pairs = _mm256_hadd_ps(x[0], x[1]);
    const __m128 halves = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
    return _mm_cvtps_pd(_mm_hadd_ps(halves, halves));
}

// Four rows against two: their eight sums stay in registers.
void dot_4x2(const float* const* left, const float* const* right, std::size_t count, double* products) {
    __m256 sums[kTile][2];
    for (auto& row : sums) {
        for (__m256& each : row) each = _mm256_setzero_ps();
    }
    for (std::size_t k = 0; k < count; k += 8) {
        const __m256 b0 = _mm256_loadu_ps(right[0] + k), b1 = _mm256_loadu_ps(right[1] + k);
#pragma GCC unroll 4
        for (std::size_t i = 0; i < kTile; ++i) {
            const __m256 a = _mm256_loadu_ps(left[i] + k);
            sums[i][0] = _mm256_fmadd_ps(a, b0, sums[i][0]);
            sums[i][1] = _mm256_fmadd_ps(a, b1, sums[i][1]);
        }
    }
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kTile; ++i) _mm_storeu_pd(products + i * kTile, sum_each(sums[i]));
}

void dot_tile(const float* const* left, const float* const* right, std::size_t count, double* products) {
    for (std::size_t j = 0; j < kTile; j += 2) dot_4x2(left, right + j, count, products + j);
}

}  // namespace

const KernelTable kAvx2Kernels{count_correct, pack_floats, pack_bytes, hamming_tile, sum, dot_tile};

}  // namespace znas
