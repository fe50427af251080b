// The kernels of a pass of many masks over many images, and what they read.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "plan.hpp"

namespace znas::cuda {

// By value to every kernel. [masks] or [masks, count]: the masks follow one another, the images of each
// within.
struct Pass {
    // Of the plan.
    const Step* steps;
    const Operand* operands;
    const Tap* places;
    const float* filters;
    const std::uint16_t* narrow_filters;  // the same in float16; null where no kernel of float16 runs
    int values;
    // Of the masks.
    const char* weights;  // merged, elements of the precision
    Offset mask_weights;  // elements
    float* vectors;
    Offset mask_vectors;
    const std::uint8_t* flags;
    int mask_flags;
    // The plane of value v under a mask holds its numbers times 2^-exponents[mask][v].
    const std::int32_t* exponents;
    // Of the images.
    int count, masks;
    const char* images;
    char* shared;
    char* own;
    // What comes out; null where nobody asks.
    std::uint16_t* codes;  // [masks, count, image_codes], bit c: channel c is positive
    Offset image_codes;
    float* features;  // [masks] of all kept sites
    Offset mask_features;
    std::int32_t* largest;  // [masks, values]: bits of the largest number of a value, whatever its sign
    float* moments;         // [masks, mask_moments]
    Offset mask_moments;
};

// Each starts kernels on the stream and returns what CUDA says of the launch. P is Float32, BFloat16 or
// Float16 of elements.hpp.
template <class P>
struct Kernels {
    // images [count, channels, height, width] float32 -> their plane
    static cudaError_t load_images(const float* images, int count, int channels, const Plane& out,
                                   char* plane, cudaStream_t stream);
    // merged [masks, size] of chunks and terms; masks [masks, slots], exponents [masks, values].
    static cudaError_t merge(const MergeChunk* chunks, std::size_t count, const MergeTerm* terms,
                             const float* base, const float* mask, int slots, const std::int32_t* exponents,
                             int values, int masks, Offset size, void* merged, cudaStream_t stream);
    static cudaError_t sum(const Pass& pass, const Wave& wave, cudaStream_t stream);
    // partial: double [masks, count, channels of all blocks, 2], scratch.
    static cudaError_t measure(const Pass& pass, const Moments& moments, double* partial,
                               cudaStream_t stream);
    // pooled [masks, count, features], logits [masks, count, classes]; sources: on the GPU.
    static cudaError_t classify(const Pass& pass, const HeadSource* sources, const int* values, int count,
                                int features, bool rectified, const float* weights, int classes,
                                float* pooled, float* logits, cudaStream_t stream);
};

// exponents [masks, values] of what steps make, after a pass with `largest`: they bring a value's largest
// number near 2^kTarget, or less near where it is so much smaller than what it reads that its weights, which
// are multiplied by 2^(the source's exponent - its own), would leave float16: that power is at most
// 2^kMostShift. What is zero everywhere is in units of 2^kLeast, so that weights that read it are small. A
// shared value's exponent is that of the first mask. masks [masks, slots].
constexpr int kTarget = 8, kMostShift = 8, kLeast = -64;
cudaError_t choose_exponents(const Pass& pass, const Wave* waves, int count, const Read* reads,
                             const std::uint8_t* shared, const float* masks, int slots,
                             std::int32_t* exponents, cudaStream_t stream);

// Of the images under a mask: how many are classified correctly, the lowest class winning ties, and how many
// have a logit that is not finite.
struct Count {
    std::int32_t correct, not_finite;
};

// logits [masks, images, classes]; labels [images], each in [0, classes); counts [masks].
cudaError_t count_correct(const float* logits, const std::int64_t* labels, int masks, int images, int classes,
                          Count* counts, cudaStream_t stream);

// A step's bias and a scale of it, with the moments of what that scale is for.
cudaError_t normalise(const Pass& pass, const Normalised& of, cudaStream_t stream);

}  // namespace znas::cuda
