#include "gpu.hpp"
#include "znas/codes.hpp"
#include "znas/cuda/kernels.hpp"

namespace znas::cuda {

namespace {

// A block has the pairs of kTile x kTile images, and reads their codes kWords words at a time.
constexpr unsigned kTile = 16;
constexpr unsigned kWords = 32;
constexpr std::size_t kMostTiles = 65535;

__device__ void load(const std::uint64_t* codes, std::size_t first_image, std::size_t images,
                     std::size_t first_word, std::size_t words, std::uint64_t (&tile)[kTile][kWords + 1]) {
    const std::size_t image = first_image + threadIdx.y;
    for (unsigned w = threadIdx.x; w < kWords; w += kTile) {
        const std::size_t word = first_word + w;
        tile[threadIdx.y][w] = image < images && word < words ? codes[image * words + word] : 0;
    }
}

__global__ void add_gram_of_tile(const std::uint64_t* codes, std::size_t images, std::size_t bits,
                                 std::size_t words, std::int64_t times, std::int64_t* gram) {
    if (blockIdx.x < blockIdx.y) return;               // the other half is its mirror image
    __shared__ std::uint64_t left[kTile][kWords + 1];  // + 1: columns lie in different banks
    __shared__ std::uint64_t right[kTile][kWords + 1];
    const std::size_t first_left = std::size_t{blockIdx.y} * kTile;
    const std::size_t first_right = std::size_t{blockIdx.x} * kTile;
    std::int64_t distance = 0;
    for (std::size_t first = 0; first < words; first += kWords) {
        load(codes, first_left, images, first, words, left);
        load(codes, first_right, images, first, words, right);
        __syncthreads();
        for (unsigned w = 0; w < kWords; ++w) {
            distance += __popcll(left[threadIdx.y][w] ^ right[threadIdx.x][w]);
        }
        __syncthreads();
    }
    const std::size_t i = first_left + threadIdx.y;
    const std::size_t j = first_right + threadIdx.x;
    if (i >= images || j >= images) return;
    const std::int64_t alike = times * (static_cast<std::int64_t>(bits) - distance);
    gram[i * images + j] += alike;
    if (blockIdx.x != blockIdx.y) gram[j * images + i] += alike;
}

}  // namespace

cudaError_t add_code_gram(const std::uint64_t* codes, std::size_t images, std::size_t bits,
                          std::int64_t times, std::int64_t* gram, cudaStream_t stream) {
    if (images == 0) return cudaSuccess;
    const std::size_t tiles = (images - 1) / kTile + 1;
    if (tiles > kMostTiles) return cudaErrorInvalidValue;
    const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(tiles));
    return launch(add_gram_of_tile, grid, dim3(kTile, kTile), stream, codes, images, bits, code_words(bits),
                  times, gram);
}

}  // namespace znas::cuda
