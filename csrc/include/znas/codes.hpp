// Activation codes: which units of a network are active on an image, one bit per unit.
//
// A code has `bits` bits in code_words(bits) words: bit j of word w belongs to unit 64 * w + j, and the
// bits beyond the last unit are zero.
#pragma once

#include <cstddef>
#include <cstdint>

#include "znas/isa.hpp"

namespace znas {

constexpr std::size_t code_words(std::size_t bits) { return bits / 64 + (bits % 64 != 0); }

// codes[n, w] bit j = activations[n, 64 * w + j] > 0.
//
//   activations  [images, units], float; or bytes, where any byte but zero is an active unit
//   codes        [images, code_words(units)]
//   threads      at least 1
//
// Throws std::invalid_argument if `isa` is not available.
void pack_codes(const float* activations, std::size_t images, std::size_t units, std::uint64_t* codes,
                Isa isa, int threads);
void pack_codes(const std::uint8_t* activations, std::size_t images, std::size_t units, std::uint64_t* codes,
                Isa isa, int threads);

// gram[i, j] = number of bits in which images i and j agree = bits - popcount(codes[i] xor codes[j]).
//
//   codes    [images, code_words(bits)]
//   gram     [images, images], symmetric
//   threads  at least 1
//
// Throws std::invalid_argument if `isa` is not available.
void code_gram(const std::uint64_t* codes, std::size_t images, std::size_t bits, std::int64_t* gram, Isa isa,
               int threads);

}  // namespace znas
