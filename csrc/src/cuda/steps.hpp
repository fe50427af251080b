// The steps of a masked pass as kernels, and what they read of a loaded mask.
//
// A mask is one blob of device memory: the structs below, and the arrays that their offsets point to. Planes
// lie as on a processor (step_kernels.hpp): channels in blocks of 16, raw planes float32 without a border,
// halo planes of the precision's elements with zeros around, which whoever writes the plane writes too.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "znas/native/program.hpp"

namespace znas::cuda {

using Offset = std::uint64_t;  // in bytes

// Image n of a tile is at arena + offset * images + bytes * n.
struct Plane {
    Offset offset = 0, bytes = 0;
    int blocks = 0, height = 0, width = 0, halo = 0;
    bool used = false;
};

// The images that go through the network together, and the memory of all their planes.
struct Tile {
    char* arena;
    int images;
};

constexpr int kNoMoments = -1;

struct LinearSpec {
    Plane raw;
    int moments;  // of the value, in floats from the first of all moments
};

struct ProductSpec {
    Plane input;
    int stride, words, taps;
    Offset places;   // int32 [taps], in pixels of the input plane
    Offset weights;  // [output block][tap][word] in the words of the layout
};

struct PoolSpec {
    int kernel, stride, padding;
    int linears;
    Offset planes;  // Plane [linears], raw
    Offset scales;  // float [linears][channels of all blocks]
};

struct SumSpec {
    int blocks, height, width;
    int linears, pools, products;
    Offset affine;  // float [1 + linears][channels of all blocks]: bias, then the scale of every linear
    Offset linear_specs, pool_specs, product_specs;
    Plane raw, relu, plain;
};

// A depthwise convolution, or a max pool: weights are then 0.
struct WindowSpec {
    Plane in, out;
    int kernel, stride, padding, dilation;
    Offset weights;  // float [block][kernel * kernel][16]
};

struct HeadSource {
    Plane raw;
    int channels;
};

struct HeadSpec {
    int sources, classes, features;
    bool rectified;
    Offset source_specs;
    Offset weights;  // float [classes][features]
};

// Consecutive bits of a site: one block of channels of one value.
struct Segment {
    Offset first_bit;
    int channels, pixels;
    const std::uint16_t* codes;  // of image 0
    Offset image_codes;          // from one image to the next
};

struct CopySpec {
    Plane raw;
    int channels;
    float* out;  // of image 0, [channels][height][width]
    Offset image_floats;
};

// mean, variance and 1 / sqrt(variance + epsilon) of a value: float [3][channels of all blocks].
struct MomentsSpec {
    Plane raw;
    float* out;
};

// Each starts kernels on the stream and returns what CUDA says of the launch. P is Float32, BFloat16 or
// Float16 of elements.hpp.
template <class P>
struct Steps {
    static cudaError_t load_images(const float* images, int channels, const Plane& out, const Tile& tile,
                                   cudaStream_t stream);
    // codes: [images][block][pixel], bit c: channel c is positive; null where nobody asks.
    static cudaError_t sum(const char* blob, Offset spec, const SumSpec& step, const float* affine,
                           const Tile& tile, std::uint16_t* codes, cudaStream_t stream);
    static cudaError_t depthwise(const char* blob, const WindowSpec& step, const Tile& tile,
                                 cudaStream_t stream);
};

cudaError_t max_pool(const WindowSpec& step, const Tile& tile, cudaStream_t stream);
// partial: double [images][channels of all blocks][2], scratch.
cudaError_t measure(const MomentsSpec& step, const Tile& tile, double* partial, cudaStream_t stream);
// The step's affine part with the scales and the bias that the moments of its inputs give.
cudaError_t normalise(const char* blob, Offset spec, const SumSpec& step, const float* moments, float* affine,
                      cudaStream_t stream);
cudaError_t classify(const char* blob, const HeadSpec& head, const Tile& tile, float* pooled, float* logits,
                     cudaStream_t stream);
// words: [images][words_per_image]
cudaError_t gather(const Segment* segments, int count, std::uint64_t* words, Offset words_per_image,
                   const Tile& tile, cudaStream_t stream);
cudaError_t copy_out(const CopySpec& copy, const Tile& tile, cudaStream_t stream);

}  // namespace znas::cuda
