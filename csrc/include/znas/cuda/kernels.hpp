// Masked sum, accuracy counting and activation-code Gram on a GPU: the kernels of znas/*.hpp, to the bit.
//
// Pointers are to device memory, dense and in C order. A call starts a kernel on `stream` and returns what
// cudaGetLastError says of the launch; nothing waits for the result.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace znas::cuda {

// out[i] = sum_t coefficients[t] * tensors[t][i], summed in order of t, for i < size; see masked_sum.hpp.
//
//   tensors       [terms] device pointers, in device memory; a tensor under a zero is never read
//   coefficients  [terms]
cudaError_t masked_sum(const float* const* tensors, const float* coefficients, std::size_t terms,
                       std::size_t size, float* out, cudaStream_t stream);

// counts[g] = number of n with argmax_c logits[g, n, c] == labels[n]; see count_correct.hpp.
//
//   logits  [masks, images, classes], without NaN
//   labels  [images]
//   counts  [masks]
cudaError_t count_correct(const float* logits, const std::int64_t* labels, std::size_t masks,
                          std::size_t images, std::size_t classes, std::int64_t* counts, cudaStream_t stream);

// gram[i, j] += times * number of bits in which images i and j agree; see codes.hpp.
//
//   codes  [images, code_words(bits)]
//   gram   [images, images]
//
// At most 65,535 * 16 images: more are cudaErrorInvalidValue.
cudaError_t add_code_gram(const std::uint64_t* codes, std::size_t images, std::size_t bits,
                          std::int64_t times, std::int64_t* gram, cudaStream_t stream);

}  // namespace znas::cuda
