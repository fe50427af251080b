// Sums of products of features, on CUDA cores: they are of float32 whatever the pass was.
#include "feature_grams.hpp"
#include "gpu.hpp"

namespace znas::cuda {

namespace {

constexpr unsigned kRowThreads = 128;
// A thread has kSide x kSide sums of a tile, kSide rows and columns apart from its neighbour's.
constexpr int kSide = 4, kThreadsAcross = kGramTile / kSide;
constexpr unsigned kThreads = kThreadsAcross * kThreadsAcross;
constexpr int kColumns = 32;  // that are in shared memory at a time
constexpr int kStrip = 512;   // that are summed in single precision

// The sum of all threads' values, in thread 0.
__device__ double sum_over_block(double value) {
    __shared__ double sums[kRowThreads];
    __syncthreads();  // or somebody may still read those of the last call
    sums[threadIdx.x] = value;
    for (unsigned half = kRowThreads / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return threadIdx.x == 0 ? sums[0] : 0;  // which the others may be too early to read
}

// A block of threads per row (x) and mask (y).
__global__ void __launch_bounds__(kRowThreads)
    mean_of_row(const __grid_constant__ Numbers numbers, const Rows* all, const Place* places,
                double* means) {
    const Place place = places[blockIdx.x];
    const Rows rows = all[place.of];
    const float* from =
        numbers.x + numbers.mask_floats * blockIdx.y + rows.first + rows.row * static_cast<Offset>(place.row);
    const int size = rows.height * rows.width;
    double sum = 0;
    for (int n = 0; n < rows.images; ++n, from += rows.image) {
        for (int p = static_cast<int>(threadIdx.x); p < size; p += static_cast<int>(kRowThreads))
            sum += from[p];
    }
    sum = sum_over_block(sum);
    if (threadIdx.x == 0) {
        means[numbers.mask_means * blockIdx.y + rows.means + static_cast<Offset>(place.row)] =
            sum / (static_cast<double>(rows.images) * size);
    }
}

// A block of threads per row (x) and mask (y).
__global__ void __launch_bounds__(kRowThreads)
    answer_of_row(const __grid_constant__ FourOf features, const Rows* all, const Place* places, int count,
                  double* out) {
    const Place place = places[blockIdx.x];
    const Rows rows = all[place.of];
    const Offset first = rows.first + rows.row * static_cast<Offset>(place.row);
    const float* from[4];
    for (int i = 0; i < 4; ++i) from[i] = features.x[i] + features.pitch[i] * blockIdx.y + first;
    const int size = rows.height * rows.width;
    double products[3] = {};
    for (int p = static_cast<int>(threadIdx.x); p < size; p += static_cast<int>(kRowThreads)) {
        const double a = from[1][p] - from[0][p], b = from[3][p] - from[2][p];
        products[0] += a * a;
        products[1] += b * b;
        products[2] += a * b;
    }
    out += (static_cast<Offset>(count) * blockIdx.y + blockIdx.x) * 3;
    for (int i = 0; i < 3; ++i) {
        const double sum = sum_over_block(products[i]);
        if (threadIdx.x == 0) out[i] = sum;
    }
}

// One number of a row; beyond the last row or column 0.
__device__ float number(const Numbers& numbers, const Rows& rows, int row, int column) {
    const int size = rows.height * rows.width;
    if (row >= rows.count || column >= rows.images * size) return 0;
    const int image = column / size, pixel = column % size, width = rows.width * rows.factor;
    const int y = pixel / rows.width * rows.factor, x = pixel % rows.width * rows.factor;
    const Offset place = rows.first + rows.row * static_cast<Offset>(row) +
                         rows.image * static_cast<Offset>(image) + static_cast<Offset>(y * width + x);
    const float* from = numbers.x + numbers.mask_floats * blockIdx.y + place;
    if (numbers.less == nullptr) {
        const Offset mean = numbers.mask_means * blockIdx.y + rows.means + static_cast<Offset>(row);
        return *from - static_cast<float>(numbers.means[mean]);
    }
    const float* less = numbers.less + numbers.mask_less * blockIdx.y + place;
    float sum = 0;
    for (int i = 0; i < rows.factor; ++i) {
        for (int j = 0; j < rows.factor; ++j) sum += from[i * width + j] - less[i * width + j];
    }
    return sum / static_cast<float>(rows.factor * rows.factor);
}

// A block of threads per tile (x) and mask (y). Threads load along the columns, in which features lie one
// after another.
__global__ void __launch_bounds__(kThreads)
    product_of_tile(const __grid_constant__ Numbers numbers, const Product* all, const Place* tiles,
                    double* out, Offset mask_out) {
    __shared__ float left[kColumns][kGramTile + 1];
    __shared__ float right[kColumns][kGramTile + 1];
    const Place tile = tiles[blockIdx.x];
    const Product product = all[tile.of];
    const int thread = static_cast<int>(threadIdx.x);
    const int mine_left = thread / kThreadsAcross, mine_right = thread % kThreadsAcross;
    const int columns = product.left.images * product.left.height * product.left.width;
    double total[kSide][kSide] = {};
    for (int strip = 0; strip < columns; strip += kStrip) {
        float sum[kSide][kSide] = {};
        const int end = min(strip + kStrip, columns);
        ZNAS_ROLL
        for (int first = strip; first < end; first += kColumns) {
            __syncthreads();
            const int column = thread % kColumns;
            for (int r = thread / kColumns; r < kGramTile; r += static_cast<int>(kThreads) / kColumns) {
                left[column][r] = number(numbers, product.left, tile.row + r, first + column);
                right[column][r] = number(numbers, product.right, tile.column + r, first + column);
            }
            __syncthreads();
            ZNAS_UNROLL
            for (int k = 0; k < kColumns; ++k) {
                float a[kSide], b[kSide];
                ZNAS_UNROLL
                for (int i = 0; i < kSide; ++i) {
                    a[i] = left[k][mine_left + i * kThreadsAcross];
                    b[i] = right[k][mine_right + i * kThreadsAcross];
                }
                ZNAS_UNROLL
                for (int i = 0; i < kSide; ++i) {
                    ZNAS_UNROLL
                    for (int j = 0; j < kSide; ++j) sum[i][j] += a[i] * b[j];
                }
            }
        }
        ZNAS_UNROLL
        for (int i = 0; i < kSide; ++i) {
            ZNAS_UNROLL
            for (int j = 0; j < kSide; ++j) total[i][j] += sum[i][j];
        }
    }
    out += mask_out * blockIdx.y + product.out;
    for (int i = 0; i < kSide; ++i) {
        for (int j = 0; j < kSide; ++j) {
            const int row = tile.row + mine_left + i * kThreadsAcross;
            const int column = tile.column + mine_right + j * kThreadsAcross;
            if (row < product.left.count && column < product.right.count) {
                out[static_cast<Offset>(row) * static_cast<Offset>(product.right.count) +
                    static_cast<Offset>(column)] = total[i][j];
            }
        }
    }
}

dim3 grid_of(int count, int masks) { return {static_cast<unsigned>(count), static_cast<unsigned>(masks), 1}; }

}  // namespace

cudaError_t mean_of_rows(const Numbers& numbers, const Rows* rows, const Place* places, int count, int masks,
                         double* means, cudaStream_t stream) {
    if (count == 0 || masks == 0) return cudaSuccess;
    return launch(mean_of_row, grid_of(count, masks), dim3(kRowThreads), stream, numbers, rows, places,
                  means);
}

cudaError_t products(const Numbers& numbers, const Product* products, const Place* tiles, int count,
                     int masks, double* out, Offset mask_out, cudaStream_t stream) {
    if (count == 0 || masks == 0) return cudaSuccess;
    return launch(product_of_tile, grid_of(count, masks), dim3(kThreads), stream, numbers, products, tiles,
                  out, mask_out);
}

cudaError_t answers(const FourOf& features, const Rows* rows, const Place* places, int count, int masks,
                    double* out, cudaStream_t stream) {
    if (count == 0 || masks == 0) return cudaSuccess;
    return launch(answer_of_row, grid_of(count, masks), dim3(kRowThreads), stream, features, rows, places,
                  count, out);
}

}  // namespace znas::cuda
