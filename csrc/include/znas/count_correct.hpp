// Accuracy as an integer: how many images each mask classifies correctly.
#pragma once

#include <cstddef>
#include <cstdint>

#include "znas/isa.hpp"

namespace znas {

// counts[g] = number of n with argmax_c logits[g, n, c] == labels[n]; the lowest index wins a tie.
//
//   logits   [masks, images, classes], without NaN (a NaN has no order: its row may count either way)
//   labels   [images], each in [0, classes)
//   counts   [masks]
//   threads  at least 1
//
// Throws std::invalid_argument if `isa` is not available.
void count_correct(const float* logits, const std::int64_t* labels, std::size_t masks, std::size_t images,
                   std::size_t classes, std::int64_t* counts, Isa isa, int threads);

}  // namespace znas
