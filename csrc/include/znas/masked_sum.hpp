// The output of an edge under a mask: a weighted sum of its operations' outputs.
#pragma once

#include <span>

#include "znas/isa.hpp"

namespace znas {

// out[i] = sum_t coefficients[t] * tensors[t][i], summed in order of t.
//
//   tensors       T pointers to out.size() floats each; none may overlap `out`
//   coefficients  [T]; a tensor whose coefficient is zero is never read
//   threads       at least 1
//
// Every product and every sum is rounded on its own (no fused multiply-add), so all instruction sets
// and all thread counts give the same bits. Throws std::invalid_argument if `isa` is not available.
void masked_sum(std::span<const float* const> tensors, std::span<const float> coefficients,
                std::span<float> out, Isa isa, int threads);

}  // namespace znas
