#include <algorithm>

#include "gpu.hpp"
#include "znas/cuda/kernels.hpp"

namespace znas::cuda {

namespace {

constexpr unsigned kThreads = 256;
// Enough blocks to fill any GPU; each strides over the rest.
constexpr std::size_t kMostBlocks = 8192;

__global__ void sum_terms(const float* const* tensors, const float* coefficients, std::size_t terms,
                          std::size_t size, float* out) {
    const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
    for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride) {
        float sum = 0.0F;
        for (std::size_t t = 0; t < terms; ++t) {
            const float coefficient = coefficients[t];
            // Rounded one by one, as on a CPU: no fused multiply-add.
            if (coefficient != 0.0F) sum = __fadd_rn(sum, __fmul_rn(coefficient, tensors[t][i]));
        }
        out[i] = sum;
    }
}

}  // namespace

cudaError_t masked_sum(const float* const* tensors, const float* coefficients, std::size_t terms,
                       std::size_t size, float* out, cudaStream_t stream) {
    if (size == 0) return cudaSuccess;
    const std::size_t blocks = std::min((size - 1) / kThreads + 1, kMostBlocks);
    return launch(sum_terms, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), stream, tensors,
                  coefficients, terms, size, out);
}

}  // namespace znas::cuda
