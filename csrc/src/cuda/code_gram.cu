// Which activation codes agree: the matrix of agreements of many masks at once, on tensor cores.
#include "code_gram.hpp"
#include "gpu.hpp"

namespace znas::cuda {

namespace {

// A warp has the pairs of 32 x 32 images, a block of four warps those of 64 x 64.
constexpr unsigned kThreads = 128;
constexpr int kWarpImages = 32, kBlockImages = 64;
constexpr int kRows = kWarpImages / 8;      // of a lane, eight images apart
constexpr unsigned kLane = kCodeWords / 4;  // words of an image that a lane reads at a time
constexpr unsigned kParts = 8;              // of the words: blocks of their own

// Four lanes read an image's kCodeWords words, eight images at once. Which lane has which of them does not
// matter, as long as both factors of a product have them alike.
struct Bits {
    std::uint32_t words[kRows][2 * kLane];

    __device__ void load(const std::uint64_t* codes, int first, int images, Offset image_words, Offset word,
                         int lane) {
        ZNAS_UNROLL
        for (int r = 0; r < kRows; ++r) {
            const int image = first + r * 8 + lane / 4;
            const auto* from = reinterpret_cast<const uint4*>(
                codes + static_cast<Offset>(image < images ? image : images - 1) * image_words + word +
                static_cast<unsigned>(lane % 4) * kLane);
            ZNAS_UNROLL
            for (unsigned i = 0; i < kLane / 2; ++i) {
                const uint4 four = __ldg(from + i);
                words[r][4 * i] = four.x;
                words[r][4 * i + 1] = four.y;
                words[r][4 * i + 2] = four.z;
                words[r][4 * i + 3] = four.w;
            }
        }
    }
};

// A lane's share of the pairs: 16 x 8 images in each.
using Pairs = int[kRows / 2][kRows][4];

// Bits that are set in both, and bits that are set in neither.
__device__ void add_alike(Pairs& pairs, const Bits& left, const Bits& right) {
    ZNAS_UNROLL
    for (unsigned w = 0; w < 2 * kLane; w += 2) {
        ZNAS_UNROLL
        for (int i = 0; i < kRows; i += 2) {
            const std::uint32_t a[4] = {left.words[i][w], left.words[i + 1][w], left.words[i][w + 1],
                                        left.words[i + 1][w + 1]};
            const std::uint32_t none[4] = {~a[0], ~a[1], ~a[2], ~a[3]};
            ZNAS_UNROLL
            for (int j = 0; j < kRows; ++j) {
                add_common_bits(pairs[i / 2][j], a, right.words[j][w], right.words[j][w + 1]);
                add_common_bits(pairs[i / 2][j], none, ~right.words[j][w], ~right.words[j][w + 1]);
            }
        }
    }
}

// blockIdx: a pair of tiles (x), a part of the words (y), a mask (z).
__global__ void __launch_bounds__(kThreads)
    gram_of_tiles(const std::uint64_t* codes, int images, Offset image_words, const CodeRange* ranges,
                  int count, const std::int32_t* times, unsigned long long* gram) {
    const int tiles = (images + kBlockImages - 1) / kBlockImages;
    const int tile_row = static_cast<int>(blockIdx.x) / tiles,
              tile_column = static_cast<int>(blockIdx.x) % tiles;
    if (tile_column < tile_row) return;  // the other half is its mirror image
    const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    const int row = tile_row * kBlockImages + warp / 2 * kWarpImages;
    const int column = tile_column * kBlockImages + warp % 2 * kWarpImages;
    if (row >= images || column >= images) return;
    codes += static_cast<Offset>(images) * image_words * blockIdx.z;
    times += static_cast<unsigned>(count) * blockIdx.z;
    gram += static_cast<Offset>(images) * static_cast<Offset>(images) * blockIdx.z;
    const Offset chunks = image_words / kCodeWords;
    const Offset begin = chunks * blockIdx.y / kParts * kCodeWords;
    const Offset end = chunks * (blockIdx.y + 1) / kParts * kCodeWords;
    long long alike[kRows / 2][kRows][4] = {};
    ZNAS_ROLL
    for (int r = 0; r < count; ++r) {
        const CodeRange range = ranges[r];
        const Offset first = max(range.first, begin), last = min(range.last, end);
        const std::int32_t weight = times[r];
        if (weight == 0 || first >= last) continue;
        Pairs pairs = {};
        ZNAS_ROLL
        for (Offset word = first; word < last; word += kCodeWords) {
            Bits left, right;
            left.load(codes, row, images, image_words, word, lane);
            right.load(codes, column, images, image_words, word, lane);
            add_alike(pairs, left, right);
        }
        // What is no unit is alike everywhere; a range's first part takes it back.
        const auto others =
            static_cast<int>(static_cast<std::int64_t>(range.last - range.first) * 64 - range.bits);
        const int taken = first == range.first ? others : 0;
        ZNAS_UNROLL
        for (int i = 0; i < kRows / 2; ++i) {
            ZNAS_UNROLL
            for (int j = 0; j < kRows; ++j) {
                ZNAS_UNROLL
                for (int c = 0; c < 4; ++c)
                    alike[i][j][c] += static_cast<long long>(weight) * (pairs[i][j][c] - taken);
            }
        }
    }
    ZNAS_UNROLL
    for (int i = 0; i < kRows / 2; ++i) {
        ZNAS_UNROLL
        for (int j = 0; j < kRows; ++j) {
            ZNAS_UNROLL
            for (int c = 0; c < 4; ++c) {
                const int a = row + i * 16 + c / 2 * 8 + lane / 4, b = column + j * 8 + lane % 4 * 2 + c % 2;
                if (a >= images || b >= images || alike[i][j][c] == 0) continue;
                const auto more = static_cast<unsigned long long>(alike[i][j][c]);
                atomicAdd(
                    gram + static_cast<Offset>(a) * static_cast<Offset>(images) + static_cast<Offset>(b),
                    more);
                if (tile_row == tile_column) continue;
                atomicAdd(
                    gram + static_cast<Offset>(b) * static_cast<Offset>(images) + static_cast<Offset>(a),
                    more);
            }
        }
    }
}

}  // namespace

cudaError_t code_gram(const std::uint64_t* codes, int masks, int images, Offset image_words,
                      const CodeRange* ranges, int count, const std::int32_t* times, std::int64_t* gram,
                      cudaStream_t stream) {
    if (images == 0 || masks == 0) return cudaSuccess;
    const auto tiles = static_cast<unsigned>((images + kBlockImages - 1) / kBlockImages);
    const dim3 grid(tiles * tiles, kParts, static_cast<unsigned>(masks));
    return launch(gram_of_tiles, grid, dim3(kThreads), stream, codes, images, image_words, ranges, count,
                  times, reinterpret_cast<unsigned long long*>(gram));
}

}  // namespace znas::cuda
