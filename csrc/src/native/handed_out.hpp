// Where what a run hands out goes, and how it is written there.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "compiled.hpp"

namespace znas::native {

// Where the codes of a value go: from bit `bit` of every image's words on.
struct CodePlace {
    std::uint64_t* words;  // [images][per_image]
    std::size_t per_image, bit;
};

// Where a kept value goes, within every image's values of its site.
struct KeptPlace {
    float* values;  // [images][per_image]
    std::size_t per_image, first;
};

// Appends the codes of one image, [block][pixel]: channels beyond the last of a block take no bits.
inline void append(const std::uint16_t* code, const Shape& shape, std::uint64_t* words, std::size_t bit) {
    const int pixels = shape.height * shape.width, blocks = blocks_of(shape);
    for (int b = 0; b < blocks; ++b) {
        const int width = std::min(kBlock, shape.channels - b * kBlock);
        if (std::endian::native == std::endian::little && width == kBlock && bit % kBlock == 0) {
            std::memcpy(reinterpret_cast<char*>(words) + bit / 8, code,
                        sizeof *code * static_cast<std::size_t>(pixels));
            code += pixels;
            bit += static_cast<std::size_t>(pixels) * kBlock;
            continue;
        }
        for (int p = 0; p < pixels; ++p, bit += static_cast<std::size_t>(width)) {
            const std::uint64_t unit = *code++;
            words[bit / 64] |= unit << (bit % 64);
            if (bit % 64 + static_cast<std::size_t>(width) > 64)
                words[bit / 64 + 1] |= unit >> (64 - bit % 64);
        }
    }
}

// One image's values, [block][pixel][kBlock] -> [channel][pixel].
inline void by_channel(const float* x, const Shape& shape, float* out) {
    constexpr std::ptrdiff_t kStrip = 64;  // pixels that are transposed at a time: their block stays in cache
    const std::ptrdiff_t pixels = static_cast<std::ptrdiff_t>(shape.height) * shape.width;
    for (int begin = 0; begin < shape.channels; begin += kBlock, x += pixels * kBlock) {
        const int width = std::min(kBlock, shape.channels - begin);
        for (std::ptrdiff_t first = 0; first < pixels; first += kStrip) {
            const std::ptrdiff_t end = std::min(first + kStrip, pixels);
            for (int c = 0; c < width; ++c) {
                for (std::ptrdiff_t p = first; p < end; ++p) out[c * pixels + p] = x[p * kBlock + c];
            }
        }
        out += width * pixels;
    }
}

}  // namespace znas::native
