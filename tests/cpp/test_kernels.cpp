// Every instruction set against the reference, bit for bit, on sizes around every word and vector boundary.
// A plain executable: it says what failed and returns 1.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "znas/codes.hpp"
#include "znas/count_correct.hpp"
#include "znas/isa.hpp"

namespace {

using znas::Isa;

int failures = 0;

template <typename T>
void expect_equal(const std::vector<T>& expected, const std::vector<T>& found, const char* what, Isa isa,
                  std::size_t size, int threads) {
    if (expected == found) return;
    ++failures;
    std::printf("FAILED %s: %.*s, size %zu, %d threads\n", what, static_cast<int>(znas::name(isa).size()),
                znas::name(isa).data(), size, threads);
}

std::vector<float> normal(std::mt19937& rng, std::size_t size) {
    std::normal_distribution<float> draw;
    std::vector<float> values(size);
    for (float& value : values) value = draw(rng);
    return values;
}

constexpr std::size_t kSizes[] = {0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 1000, 4097};

void count_correct(Isa isa, int threads, std::mt19937& rng) {
    constexpr std::size_t kMasks = 3;
    constexpr std::size_t kImages = 37;
    for (const std::size_t classes : {1, 2, 10, 16, 17, 100, 1000}) {
        std::vector<float> logits = normal(rng, kMasks * kImages * classes);
        for (float& logit : logits) logit = std::round(logit);  // many ties
        std::uniform_int_distribution<std::int64_t> draw(0, static_cast<std::int64_t>(classes) - 1);
        std::vector<std::int64_t> labels(kImages);
        for (std::int64_t& label : labels) label = draw(rng);
        std::vector<std::int64_t> expected(kMasks, 0);
        std::vector<std::int64_t> found(kMasks, -1);
        for (std::size_t g = 0; g < kMasks; ++g) {
            for (std::size_t n = 0; n < kImages; ++n) {
                const float* row = logits.data() + (g * kImages + n) * classes;
                std::size_t best = 0;
                for (std::size_t c = 1; c < classes; ++c) best = row[c] > row[best] ? c : best;
                expected[g] += static_cast<std::int64_t>(best) == labels[n];
            }
        }
        znas::count_correct(logits.data(), labels.data(), kMasks, kImages, classes, found.data(), isa,
                            threads);
        expect_equal(expected, found, "count_correct", isa, classes, threads);
    }
}

void codes(Isa isa, int threads, std::mt19937& rng) {
    for (const std::size_t images : {1, 3, 4, 9, 20}) {
        for (const std::size_t units : kSizes) {
            const std::vector<float> activations = normal(rng, images * units);
            std::vector<std::uint8_t> bytes(activations.size());
            for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = activations[i] > 0;
            const std::size_t words = znas::code_words(units);
            std::vector<std::uint64_t> expected(images * words, 0);
            for (std::size_t n = 0; n < images; ++n) {
                for (std::size_t u = 0; u < units; ++u) {
                    expected[n * words + u / 64] |= std::uint64_t{bytes[n * units + u]} << (u % 64);
                }
            }
            std::vector<std::uint64_t> found(images * words, ~std::uint64_t{0});
            znas::pack_codes(activations.data(), images, units, found.data(), isa, threads);
            expect_equal(expected, found, "pack_codes of floats", isa, units, threads);
            found.assign(images * words, ~std::uint64_t{0});
            znas::pack_codes(bytes.data(), images, units, found.data(), isa, threads);
            expect_equal(expected, found, "pack_codes of bytes", isa, units, threads);

            std::vector<std::int64_t> agreements(images * images, 0);
            for (std::size_t i = 0; i < images; ++i) {
                for (std::size_t j = 0; j < images; ++j) {
                    for (std::size_t u = 0; u < units; ++u) {
                        agreements[i * images + j] += bytes[i * units + u] == bytes[j * units + u];
                    }
                }
            }
            std::vector<std::int64_t> gram(images * images, -1);
            znas::code_gram(expected.data(), images, units, gram.data(), isa, threads);
            expect_equal(agreements, gram, "code_gram", isa, units, threads);
        }
    }
}

void unavailable_isas_throw() {
    for (const Isa isa : znas::kIsas) {
        if (znas::available(isa)) continue;
        std::uint64_t code = 0;
        const float activation = 1.0F;
        try {
            znas::pack_codes(&activation, 1, 1, &code, isa, 1);
        } catch (const std::invalid_argument&) {
            continue;
        }
        ++failures;
        std::printf("FAILED an unavailable instruction set was not refused\n");
    }
}

}  // namespace

int main() {
    for (const Isa isa : znas::kIsas) {
        if (!znas::available(isa)) {
            std::printf("skipped %.*s: this processor cannot run it\n",
                        static_cast<int>(znas::name(isa).size()), znas::name(isa).data());
            continue;
        }
        for (const int threads : {1, 2, 5}) {
            std::mt19937 rng(7);
            count_correct(isa, threads, rng);
            codes(isa, threads, rng);
        }
    }
    unavailable_isas_throw();
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
