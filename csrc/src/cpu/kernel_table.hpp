// What one instruction set must provide: the inner loops, on one thread and on a piece that fits a cache.
// Blocking, threads and the choice of the table are the business of the functions in include/znas.
//
// The files that fill a table are compiled with their own instruction-set flags. They include nothing
// that instantiates inline functions of the standard library: the linker keeps one copy of such a
// function for the whole program, and it could be the copy that needs AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>

namespace znas {

inline constexpr std::size_t kTile = 4;
inline constexpr std::size_t kVector = 16;  // floats that rows of `dot_tile` come in

struct KernelTable {
    // The number of rows of logits [rows, classes] whose argmax is the row's label.
    std::int64_t (*count_correct)(const float* logits, const std::int64_t* labels, std::size_t rows,
                                  std::size_t classes);

    // Packs `units` signs, or `units` truth values, into code_words(units) words.
    void (*pack_floats)(const float* activations, std::size_t units, std::uint64_t* code);
    void (*pack_bytes)(const std::uint8_t* activations, std::size_t units, std::uint64_t* code);

    // distances[i * kTile + j] += popcount(left[i] xor right[j]) over `words` words, for i, j < kTile.
    void (*hamming_tile)(const std::uint64_t* const* left, const std::uint64_t* const* right,
                         std::size_t words, std::int64_t* distances);

    // The sum of `count` floats, in double precision.
    double (*sum)(const float* x, std::size_t count);

    // products[i * kTile + j] = left[i] . right[j] over `count` floats, a multiple of kVector, for i, j <
    // kTile.
    void (*dot_tile)(const float* const* left, const float* const* right, std::size_t count,
                     double* products);
};

extern const KernelTable kReferenceKernels;
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;

}  // namespace znas
