#include <algorithm>

#include "dispatch.hpp"
#include "parallel.hpp"
#include "znas/codes.hpp"

namespace znas {

namespace {

constexpr std::size_t kWords = 1024;  // words per task: 65536 units

template <typename Unit>
void pack(void (*kernel)(const Unit*, std::size_t, std::uint64_t*), const Unit* activations,
          std::size_t images, std::size_t units, std::uint64_t* codes, int threads) {
    // A task is a range of words within one image, so that a single large image is shared too.
    const std::size_t words = code_words(units);
    const std::size_t tasks_per_image = (words + kWords - 1) / kWords;
    parallel_for(images * tasks_per_image, threads, [&](std::size_t task) {
        const std::size_t image = task / tasks_per_image;
        const std::size_t word = (task % tasks_per_image) * kWords;
        const std::size_t count = std::min(kWords * 64, units - word * 64);
        kernel(activations + image * units + word * 64, count, codes + image * words + word);
    });
}

}  // namespace

void pack_codes(const float* activations, std::size_t images, std::size_t units, std::uint64_t* codes,
                Isa isa, int threads) {
    pack(kernels(isa).pack_floats, activations, images, units, codes, threads);
}

void pack_codes(const std::uint8_t* activations, std::size_t images, std::size_t units, std::uint64_t* codes,
                Isa isa, int threads) {
    pack(kernels(isa).pack_bytes, activations, images, units, codes, threads);
}

}  // namespace znas
