// Sums of products of features: how channels, images and cells vary together.
#pragma once

#include <cuda_runtime_api.h>

#include "plan.hpp"

namespace znas::cuda {

// Rows of numbers in a mask's features, whose columns are (image, y, x).
struct Rows {
    Offset first = 0, row = 0, image = 0;  // floats: before row 0, and from one row and image to the next
    int count = 0;
    int images = 0, height = 0, width = 0;  // of the columns
    int factor = 1;                         // a column is the mean of factor x factor numbers
    Offset means = 0;                       // of the rows, in doubles from the first of a mask
};

// out[i, j] = sum over columns of left row i times right row j.
struct Product {
    Rows left, right;  // of as many columns
    Offset out = 0;    // in doubles from the first of a mask
};

// A row, or the first row and column of a tile of a product.
struct Place {
    int of, row, column;
};

constexpr int kGramTile = 32;  // rows and columns of a product that a block has

// Features of masks, x [masks, mask_floats]. From every number the one of less [masks, mask_less] at its
// place is taken, or where that is null its row's mean.
struct Numbers {
    const float* x;
    Offset mask_floats;
    const float* less;
    Offset mask_less;
    const double* means;  // [masks, mask_means]
    Offset mask_means;
};

// means[m, rows.means + r] of every place's row r, whose factor is 1.
cudaError_t mean_of_rows(const Numbers& numbers, const Rows* rows, const Place* places, int count, int masks,
                         double* means, cudaStream_t stream);

// out [masks, mask_out]. Products are summed in single precision over a few hundred columns and in double
// precision from there on, always in the same order.
cudaError_t products(const Numbers& numbers, const Product* products, const Place* tiles, int count,
                     int masks, double* out, Offset mask_out, cudaStream_t stream);

// Features of the same masks and images at four places: x[i] [masks, pitch[i]].
struct FourOf {
    const float* x[4];
    Offset pitch[4];
};

// out[m, place, 3] of every place's row: the products a . a, b . b and a . b of a = x[1] - x[0] and
// b = x[3] - x[2], in double precision.
cudaError_t answers(const FourOf& features, const Rows* rows, const Place* places, int count, int masks,
                    double* out, cudaStream_t stream);

}  // namespace znas::cuda
