#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "dispatch.hpp"
#include "parallel.hpp"
#include "znas/codes.hpp"

namespace znas {

namespace {

// A task is one panel of the upper triangle: kPanel images against kPanel images. It walks the words in
// blocks whose 2 * kPanel pieces stay in the second-level cache while every tile of the panel uses them.
constexpr std::size_t kPanel = 8;
constexpr std::size_t kWords = 1024;

struct Rows {
    const std::uint64_t* codes;
    std::size_t images;
    std::size_t words;

    // The rows of the tile that begins at `first`, from `word` on; a tile that sticks out past the last
    // image repeats it, and nobody looks at what that adds.
    std::array<const std::uint64_t*, kTile> tile(std::size_t first, std::size_t word) const {
        std::array<const std::uint64_t*, kTile> pointers;
        for (std::size_t i = 0; i < kTile; ++i) {
            pointers[i] = codes + std::min(first + i, images - 1) * words + word;
        }
        return pointers;
    }
};

void gram_panel(const KernelTable& table, const Rows& rows, std::size_t top, std::size_t left,
                std::int64_t bits, std::int64_t* gram) {
    constexpr std::size_t kTiles = kPanel / kTile;
    std::int64_t distances[kTiles][kTiles][kTile * kTile] = {};

    const std::size_t bottom = std::min(top + kPanel, rows.images);
    const std::size_t right = std::min(left + kPanel, rows.images);
    for (std::size_t word = 0; word < rows.words; word += kWords) {
        const std::size_t count = std::min(kWords, rows.words - word);
        for (std::size_t i = top; i < bottom; i += kTile) {
            const auto tile_i = rows.tile(i, word);
            for (std::size_t j = std::max(left, i); j < right; j += kTile) {
                const auto tile_j = rows.tile(j, word);
                table.hamming_tile(tile_i.data(), tile_j.data(), count,
                                   distances[(i - top) / kTile][(j - left) / kTile]);
            }
        }
    }

    for (std::size_t i = top; i < bottom; ++i) {
        for (std::size_t j = std::max(left, i); j < right; ++j) {
            const std::size_t a = i - top;
            const std::size_t b = j - left;
            const std::int64_t distance = distances[a / kTile][b / kTile][(a % kTile) * kTile + b % kTile];
            gram[i * rows.images + j] = gram[j * rows.images + i] = bits - distance;
        }
    }
}

}  // namespace

void code_gram(const std::uint64_t* codes, std::size_t images, std::size_t bits, std::int64_t* gram, Isa isa,
               int threads) {
    const KernelTable& table = kernels(isa);
    const Rows rows{codes, images, code_words(bits)};

    std::vector<std::pair<std::size_t, std::size_t>> panels;
    for (std::size_t top = 0; top < images; top += kPanel) {
        for (std::size_t left = top; left < images; left += kPanel) panels.emplace_back(top, left);
    }
    parallel_for(panels.size(), threads, [&](std::size_t task) {
        const auto [top, left] = panels[task];
        gram_panel(table, rows, top, left, static_cast<std::int64_t>(bits), gram);
    });
}

}  // namespace znas
