#include <limits>

#include "gpu.hpp"
#include "znas/cuda/kernels.hpp"

namespace znas::cuda {

namespace {

constexpr unsigned kThreads = 256;

// One block per mask, one image per thread and turn.
__global__ void count_of_mask(const float* logits, const std::int64_t* labels, std::size_t images,
                              std::size_t classes, std::int64_t* counts) {
    __shared__ unsigned long long total;
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    unsigned long long correct = 0;
    for (std::size_t n = threadIdx.x; n < images; n += blockDim.x) {
        const float* scores = logits + (blockIdx.x * images + n) * classes;
        std::size_t best = 0;
        for (std::size_t c = 1; c < classes; ++c) {
            if (scores[c] > scores[best]) best = c;
        }
        correct += static_cast<std::int64_t>(best) == labels[n] ? 1 : 0;
    }
    atomicAdd(&total, correct);
    __syncthreads();
    if (threadIdx.x == 0) counts[blockIdx.x] = static_cast<std::int64_t>(total);
}

}  // namespace

cudaError_t count_correct(const float* logits, const std::int64_t* labels, std::size_t masks,
                          std::size_t images, std::size_t classes, std::int64_t* counts,
                          cudaStream_t stream) {
    if (masks == 0) return cudaSuccess;
    if (masks > static_cast<std::size_t>(std::numeric_limits<int>::max())) return cudaErrorInvalidValue;
    return launch(count_of_mask, dim3(static_cast<unsigned>(masks)), dim3(kThreads), stream, logits, labels,
                  images, classes, counts);
}

}  // namespace znas::cuda
