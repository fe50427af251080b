// The matrix of agreements of activation codes.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "plan.hpp"

namespace znas::cuda {

constexpr unsigned kCodeWords = 16;  // that are read together: ranges are whole multiples of them

// Words of an image's codes that belong together, and how many of their bits are units.
struct CodeRange {
    Offset first, last;
    std::int64_t bits;
};

// gram[m, i, j] += sum over ranges r of times[m, r] * number of its bits in which images i and j agree.
//
//   codes  [masks, images, image_words]; aligned to 16 bytes; a bit that is no unit is zero
//   times  [masks, count]; a range under a zero is never read
//   gram   [masks, images, images]
cudaError_t code_gram(const std::uint64_t* codes, int masks, int images, Offset image_words,
                      const CodeRange* ranges, int count, const std::int32_t* times, std::int64_t* gram,
                      cudaStream_t stream);

}  // namespace znas::cuda
