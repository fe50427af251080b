// The inner loops of a masked pass, on one image and one thread, for one instruction set and precision.
//
// Activations lie in blocks of kBlock channels: [blocks][height][width][kBlock], channels beyond the last
// are zero. A *raw* plane holds float32 without a border; a *halo* plane holds the elements that products
// read (float32, or bfloat16) and `halo` zero pixels on every side. A word is what one product lane reads:
// one float32, or a pair of bfloat16 channels.
//
// The files that fill a table are compiled with their own instruction-set flags: see kernel_table.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "znas/native/program.hpp"

namespace znas::native {

// The element (0, 0) of a halo plane's interior is at data + origin().
struct HaloPlane {
    char* data = nullptr;
    int blocks = 0, height = 0, width = 0, halo = 0;

    int pitch() const { return width + 2 * halo; }
    std::ptrdiff_t block_pixels() const { return static_cast<std::ptrdiff_t>(height + 2 * halo) * pitch(); }
    std::ptrdiff_t origin() const { return static_cast<std::ptrdiff_t>(halo) * pitch() + halo; }
};

// One plane that a sum convolves. weights: [output block][tap][word][kBlock] words.
struct Product {
    HaloPlane input;
    int stride = 1;
    int words = 0;  // of all channels
    int taps = 0;
    const std::int32_t* offsets = nullptr;  // per tap, in pixels, for stride steps of the output
    const char* weights = nullptr;
};

struct Linear {
    const float* raw = nullptr;    // [blocks][height][width][kBlock]
    const float* scale = nullptr;  // [blocks][kBlock]
};

// A 3x3 product computed as in winograd.inl. weights: [16 positions][output block][word][kBlock] words.
struct TransformedProduct {
    HaloPlane input;
    int words = 0;
    const char* weights = nullptr;
};

// Where what a step makes is stored: wherever a pointer is not null.
struct Outputs {
    float* raw = nullptr;
    HaloPlane relu{}, plain{};
    std::uint16_t* codes = nullptr;  // [blocks][height][width], bit c: channel c is positive
};

// out = bias + sum of scale * raw + sum of convolutions
struct SumStep {
    int channels, height, width;
    const float* bias;  // [blocks][kBlock]
    const Linear* linears;
    int linear_count;
    const Product* products;
    int product_count;
    const TransformedProduct* transformed;
    int transformed_count;
    float* scratch;  // transformed_floats of them, where there is such a product
    Outputs out;
};

// Transformed products are computed a strip of rows at a time: two at least, and more while these are no more
// than kStripSquares squares of 2 x 2 pixels.
constexpr int kStripSquares = 16;
constexpr int kPositions = 16;  // of a transformed square
inline int strip_rows(int height, int width) {
    const int pairs = 2 * kStripSquares / width;
    return 2 * (pairs < 1 ? 1 : pairs > height / 2 ? height / 2 : pairs);
}
// blocks: of all inputs of transformed products, and of the output.
inline std::size_t transformed_floats(int blocks_in, int blocks_out, int height, int width) {
    const std::size_t pixels = static_cast<std::size_t>(strip_rows(height, width)) * width;
    const std::size_t block = pixels * kBlock;
    return block / 4 * kPositions * static_cast<std::size_t>(blocks_in + blocks_out) +
           block * static_cast<std::size_t>(blocks_out);
}

// A depthwise convolution: every channel of what comes out is that of `in` with its own filter, and a bias.
// Row y reads rows y * stride + first + i * dilation, i < kernel; columns likewise.
struct DepthwiseStep {
    HaloPlane in;
    int height, width;  // of what comes out
    int kernel, stride, first, dilation;
    const float* weights;  // [block][kernel * kernel][kBlock]
    const float* bias;     // [block][kBlock]
    Outputs out;
};

struct PoolStep {
    const float* in;
    int blocks, height, width;
    float* out;
    int out_height, out_width;
    int kernel, stride, padding;
};

struct StepTable {
    void (*sum)(const SumStep&);
    void (*depthwise)(const DepthwiseStep&);
    void (*average_pool)(const PoolStep&);  // padding is not counted
    void (*max_pool)(const PoolStep&);
    void (*combine)(const Linear* linears, int count, int blocks, std::ptrdiff_t pixels, float* out);
    // sum[c] += x, square[c] += x * x over the pixels of one block
    void (*moments)(const float* raw, std::ptrdiff_t pixels, double* sum, double* square);
    // images [channels][pixels] float32 -> the interior of a halo plane
    void (*load_images)(const float* images, int channels, const HaloPlane& out);
};

extern const Layout kReferenceFloat32, kReferenceBFloat16;
extern const Layout kAvx2Float32, kAvx2BFloat16;
extern const Layout kAvx512Float32, kAvx512BFloat16;
extern const Layout kAvx512Bf16BFloat16;  // with AVX512-BF16

}  // namespace znas::native
