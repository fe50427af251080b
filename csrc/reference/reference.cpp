// Every kernel as the loop that defines it. It runs on any machine and judges the vector kernels.
#include <bit>

#include "kernel_table.hpp"

namespace znas {

namespace {

std::int64_t count_correct(const float* logits, const std::int64_t* labels, std::size_t rows,
                           std::size_t classes) {
    std::int64_t correct = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        const float* scores = logits + row * classes;
        std::size_t best = 0;
        for (std::size_t c = 1; c < classes; ++c) {
            if (scores[c] > scores[best]) best = c;
        }
        correct += static_cast<std::int64_t>(best) == labels[row];
    }
    return correct;
}

template <typename Unit>
void pack(const Unit* activations, std::size_t units, std::uint64_t* code) {
    for (std::size_t first = 0; first < units; first += 64) {
        std::uint64_t word = 0;
        for (std::size_t j = 0; j < 64 && first + j < units; ++j) {
            word |= std::uint64_t{activations[first + j] > 0} << j;
        }
        code[first / 64] = word;
    }
}

void hamming_tile(const std::uint64_t* const* left, const std::uint64_t* const* right, std::size_t words,
                  std::int64_t* distances) {
    for (std::size_t i = 0; i < kTile; ++i) {
        for (std::size_t j = 0; j < kTile; ++j) {
            for (std::size_t w = 0; w < words; ++w) {
                distances[i * kTile + j] += std::popcount(left[i][w] ^ right[j][w]);
            }
        }
    }
}

double sum(const float* x, std::size_t count) {
    double total = 0;
    for (std::size_t k = 0; k < count; ++k) total += x[k];
    return total;
}

// In lanes, like the others: a compiler may make vectors of them, of one running sum it may not.
void dot_tile(const float* const* left, const float* const* right, std::size_t count, double* products) {
    for (std::size_t i = 0; i < kTile; ++i) {
        for (std::size_t j = 0; j < kTile; ++j) {
            const float *a = left[i], *b = right[j];
            float sums[kVector] = {};
            for (std::size_t k = 0; k < count; k += kVector) {
                for (std::size_t lane = 0; lane < kVector; ++lane) sums[lane] += a[k + lane] * b[k + lane];
            }
            double total = 0;
            for (const float each : sums) total += each;
            products[i * kTile + j] = total;
        }
    }
}

}  // namespace

const KernelTable kReferenceKernels{count_correct, pack<float>, pack<std::uint8_t>,
                                    hamming_tile,  sum,         dot_tile};

}  // namespace znas
