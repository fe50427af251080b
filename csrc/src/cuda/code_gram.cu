// Which activation codes agree: the matrix of agreements of many masks at once.
#include "code_gram.hpp"
#include "gpu.hpp"

namespace znas::cuda {

namespace {

// A block has the pairs of kTile x kTile images, each thread four of them, and reads their codes kWords words at
// a time.
constexpr unsigned kThreads = 16;  // along both sides
constexpr unsigned kEach = 2;
constexpr unsigned kTile = kThreads * kEach;
constexpr unsigned kWords = 32;
constexpr unsigned kParts = 8;  // of the words: blocks of their own

using Words = std::uint64_t[kTile][kWords + 1];  // + 1: columns lie in different banks

__device__ void load(const std::uint64_t* codes, Offset first_image, Offset images, Offset image_words,
                     Offset first, Offset last, Words& tile) {
    for (unsigned i = threadIdx.y; i < kTile; i += kThreads) {
        for (unsigned w = threadIdx.x; w < kWords; w += kThreads) {
            const bool inside = first_image + i < images && first + w < last;
            tile[i][w] = inside ? codes[(first_image + i) * image_words + first + w] : 0;
        }
    }
}

// blockIdx: a pair of tiles (x), a part of the words (y), a mask (z).
__global__ void gram_of_tiles(const std::uint64_t* codes, Offset images, Offset image_words,
                              const CodeRange* ranges, int count, const std::int32_t* times,
                              unsigned long long* gram) {
    __shared__ Words left, right;
    const auto tiles = static_cast<unsigned>((images + kTile - 1) / kTile);
    const unsigned row = blockIdx.x / tiles, column = blockIdx.x % tiles;
    if (column < row) return;  // the other half is its mirror image
    codes += images * image_words * blockIdx.z;
    times += static_cast<unsigned>(count) * blockIdx.z;
    gram += images * images * blockIdx.z;
    const Offset begin = image_words * blockIdx.y / kParts, end = image_words * (blockIdx.y + 1) / kParts;
    long long alike[kEach][kEach] = {};
    for (int r = 0; r < count; ++r) {
        const CodeRange range = ranges[r];
        const Offset first = max(range.first, begin), last = min(range.last, end);
        const std::int32_t weight = times[r];
        if (weight == 0 || first >= last) continue;
        int distance[kEach][kEach] = {};
        for (Offset word = first; word < last; word += kWords) {
            load(codes, Offset{row} * kTile, images, image_words, word, last, left);
            load(codes, Offset{column} * kTile, images, image_words, word, last, right);
            __syncthreads();
            const auto here = static_cast<unsigned>(min(last - word, Offset{kWords}));
            for (unsigned w = 0; w < here; ++w) {
                for (unsigned i = 0; i < kEach; ++i) {
                    for (unsigned j = 0; j < kEach; ++j) {
                        distance[i][j] += __popcll(left[threadIdx.y + i * kThreads][w] ^
                                                   right[threadIdx.x + j * kThreads][w]);
                    }
                }
            }
            __syncthreads();
        }
        // The bits of a range are its first part's to count.
        const long long bits = first == range.first ? range.bits : 0;
        for (unsigned i = 0; i < kEach; ++i) {
            for (unsigned j = 0; j < kEach; ++j) alike[i][j] += weight * (bits - distance[i][j]);
        }
    }
    for (unsigned i = 0; i < kEach; ++i) {
        for (unsigned j = 0; j < kEach; ++j) {
            const Offset a = Offset{row} * kTile + threadIdx.y + i * kThreads;
            const Offset b = Offset{column} * kTile + threadIdx.x + j * kThreads;
            if (a >= images || b >= images || alike[i][j] == 0) continue;
            atomicAdd(gram + a * images + b, static_cast<unsigned long long>(alike[i][j]));
            if (row != column) atomicAdd(gram + b * images + a, static_cast<unsigned long long>(alike[i][j]));
        }
    }
}

}  // namespace

cudaError_t code_gram(const std::uint64_t* codes, Offset masks, Offset images, Offset image_words,
                      const CodeRange* ranges, int count, const std::int32_t* times, std::int64_t* gram,
                      cudaStream_t stream) {
    if (images == 0 || masks == 0) return cudaSuccess;
    const auto tiles = static_cast<unsigned>((images + kTile - 1) / kTile);
    const dim3 grid(tiles * tiles, kParts, static_cast<unsigned>(masks));
    return launch(gram_of_tiles, grid, dim3(kThreads, kThreads), stream, codes, images, image_words, ranges,
                  count, times, reinterpret_cast<unsigned long long*>(gram));
}

}  // namespace znas::cuda
