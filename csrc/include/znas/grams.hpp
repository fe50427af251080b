// Sums of products of features: what scores read of how channels, images and cells vary together.
//
// Features are float [images, channels, pixels]. Products are summed in single precision over a few hundred
// columns and in double precision from there on: results of instruction sets differ by rounding. One thread.
#pragma once

#include <cstddef>
#include <vector>

#include "znas/isa.hpp"

namespace znas {

// mean[c] = mean of x[n, c, p] over n and p; gram[c, d] = sum over n and p of the products of channels c and
// d, each less its mean.
//
//   x     [images, channels, pixels]
//   mean  [channels]
//   gram  [channels, channels], symmetric
//
// Throws std::invalid_argument if `isa` is not available; so do the others.
void channel_gram(const float* x, std::size_t images, std::size_t channels, std::size_t pixels, double* mean,
                  double* gram, Isa isa);

// gram[n, m] = sum over u of the products of images n and m, each less its mean over its units.
//
//   x     [images, units]
//   gram  [images, images], symmetric
void image_gram(const float* x, std::size_t images, std::size_t units, double* gram, Isa isa);

// A cell's output for images as they are and for the same images nudged, [images, channels, height, width].
struct Answer {
    const float* still;
    const float* nudged;
    std::size_t channels, height, width;
};

// What a regression of a cell's answer on the one before reads.
struct Response {
    std::vector<double> energy;  // [channels before, channels before], symmetric
    std::vector<double> cross;   // [channels before, channels]
};

// Of every answer but the first, with after = nudged - still, and before the same of the answer before,
// averaged over the pixels that become one: energy = sum of before before^T, cross = sum of before after^T,
// over images and pixels. The height and width of an answer are those of the answer before over one whole
// number.
std::vector<Response> response_grams(const std::vector<Answer>& answers, std::size_t images, Isa isa);

}  // namespace znas
