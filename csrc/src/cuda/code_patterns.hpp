// How many different patterns units make over the images.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "plan.hpp"

namespace znas::cuda {

constexpr int kPatternImages = 64;  // at most: a bit each

// A value's codes in an image: entries of 16 channels, pixel after pixel of one block of channels after
// another.
struct CodeUnits {
    Offset first;
    int channels, pixels;
};

// found[m] += number of different patterns among the units of values v with times[m, v] above 0.
//
//   codes   [masks, images, image_codes]
//   times   [masks, count]
//   tables  [masks, slots + 1], every bit set; slots: a power of two above the number of units
//   found   [masks]
cudaError_t count_patterns(const std::uint16_t* codes, int masks, int images, Offset image_codes,
                           const CodeUnits* values, int count, int most_entries, const std::int32_t* times,
                           unsigned long long* tables, Offset slots, std::int32_t* found,
                           cudaStream_t stream);

}  // namespace znas::cuda
