// Every instruction set against plain loops, on sizes around every word and vector boundary: integers bit for
// bit, sums of floats to rounding.
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
#include "znas/grams.hpp"
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

// Channels about 1 and, from the fifth on, about 100: sums that are not centred lose what is left.
std::vector<float> features(std::mt19937& rng, std::size_t images, std::size_t channels, std::size_t pixels) {
    std::vector<float> x = normal(rng, images * channels * pixels);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += i / pixels % channels < 4 ? 1.0F : 100.0F;
    return x;
}

// sums[i, j] to within 1e-5 of the lengths of what is multiplied, whose squares are left[i] and right[j].
void expect_close(const std::vector<double>& expected, const std::vector<double>& found,
                  const std::vector<double>& left, const std::vector<double>& right, const char* what,
                  Isa isa) {
    for (std::size_t i = 0; i < left.size(); ++i) {
        for (std::size_t j = 0; j < right.size(); ++j) {
            const std::size_t at = i * right.size() + j;
            const double error = std::abs(expected[at] - found[at]);
            if (error <= 1e-5 * std::sqrt(left[i] * right[j])) continue;
            ++failures;
            std::printf("FAILED %s: %.*s, [%zu, %zu] off by %g\n", what,
                        static_cast<int>(znas::name(isa).size()), znas::name(isa).data(), i, j, error);
        }
    }
}

std::vector<double> diagonal(const std::vector<double>& square) {
    const auto rows = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(square.size()))));
    std::vector<double> found;
    for (std::size_t i = 0; i < rows; ++i) found.push_back(square[i * (rows + 1)]);
    return found;
}

// The products of every two rows, each less its mean.
std::vector<double> centred_products(const std::vector<std::vector<double>>& rows) {
    std::vector<double> products;
    for (const auto& a : rows) {
        for (const auto& b : rows) {
            double mean_a = 0, mean_b = 0, total = 0;
            for (const double value : a) mean_a += value / static_cast<double>(a.size());
            for (const double value : b) mean_b += value / static_cast<double>(b.size());
            for (std::size_t k = 0; k < a.size(); ++k) total += (a[k] - mean_a) * (b[k] - mean_b);
            products.push_back(total);
        }
    }
    return products;
}

void grams(Isa isa, std::mt19937& rng) {
    for (const std::size_t images : {1, 3, 4, 9}) {
        for (const std::size_t channels : {1, 4, 6, 17}) {
            for (const std::size_t pixels : {1, 15, 16, 17, 64, 600}) {
                const std::vector<float> x = features(rng, images, channels, pixels);
                std::vector<std::vector<double>> of_channel(channels), of_image(images);
                for (std::size_t i = 0; i < x.size(); ++i) {
                    of_channel[i / pixels % channels].push_back(x[i]);
                    of_image[i / pixels / channels].push_back(x[i]);
                }
                std::vector<double> mean(channels), gram(channels * channels), between(images * images);
                znas::channel_gram(x.data(), images, channels, pixels, mean.data(), gram.data(), isa);
                std::vector<double> expected = centred_products(of_channel);
                std::vector<double> lengths = diagonal(expected);
                expect_close(expected, gram, lengths, lengths, "channel_gram", isa);
                znas::image_gram(x.data(), images, channels * pixels, between.data(), isa);
                expected = centred_products(of_image);
                lengths = diagonal(expected);
                expect_close(expected, between, lengths, lengths, "image_gram", isa);
            }
        }
    }
}

// What changes by a nudge, summed as the header says: cells of 3, 6 and 5 channels, the second half as wide.
void responses(Isa isa, std::mt19937& rng) {
    struct Shape {
        std::size_t channels, height, width;
    };
    constexpr std::size_t kImages = 6;
    constexpr Shape kShapes[] = {{3, 6, 10}, {6, 3, 5}, {5, 3, 5}};
    std::vector<std::vector<float>> still, nudged;
    std::vector<znas::Answer> answers;
    for (const auto& [channels, height, width] : kShapes) {
        still.push_back(normal(rng, kImages * channels * height * width));
        nudged.push_back(normal(rng, still.back().size()));
    }
    for (std::size_t k = 0; k < 3; ++k) {
        const auto& [channels, height, width] = kShapes[k];
        answers.push_back({still[k].data(), nudged[k].data(), channels, height, width});
    }
    // Of one cell and image: channel c at a pixel, averaged over factor x factor.
    const auto moved = [&](std::size_t k, std::size_t n, std::size_t c, std::size_t y, std::size_t x,
                           std::size_t factor) {
        double total = 0;
        for (std::size_t i = 0; i < factor; ++i) {
            for (std::size_t j = 0; j < factor; ++j) {
                const std::size_t row = (n * kShapes[k].channels + c) * kShapes[k].height + y * factor + i;
                const std::size_t at = row * kShapes[k].width + x * factor + j;
                total += static_cast<double>(nudged[k][at]) - still[k][at];
            }
        }
        return total / static_cast<double>(factor * factor);
    };
    const std::vector<znas::Response> found = znas::response_grams(answers, kImages, isa);
    for (std::size_t k = 1; k < 3; ++k) {
        const Shape &before = kShapes[k - 1], &after = kShapes[k];
        const std::size_t factor = before.height / after.height;
        std::vector<double> energy(before.channels * before.channels),
            cross(before.channels * after.channels), of_after(after.channels);
        for (std::size_t n = 0; n < kImages; ++n) {
            for (std::size_t y = 0; y < after.height; ++y) {
                for (std::size_t x = 0; x < after.width; ++x) {
                    for (std::size_t c = 0; c < before.channels; ++c) {
                        const double left = moved(k - 1, n, c, y, x, factor);
                        for (std::size_t d = 0; d < before.channels; ++d) {
                            energy[c * before.channels + d] += left * moved(k - 1, n, d, y, x, factor);
                        }
                        for (std::size_t d = 0; d < after.channels; ++d) {
                            cross[c * after.channels + d] += left * moved(k, n, d, y, x, 1);
                        }
                    }
                    for (std::size_t d = 0; d < after.channels; ++d) {
                        of_after[d] += moved(k, n, d, y, x, 1) * moved(k, n, d, y, x, 1);
                    }
                }
            }
        }
        const std::vector<double> lengths = diagonal(energy);
        expect_close(energy, found[k - 1].energy, lengths, lengths, "energy", isa);
        expect_close(cross, found[k - 1].cross, lengths, of_after, "cross", isa);
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
        std::mt19937 rng(7);
        grams(isa, rng);
        responses(isa, rng);
    }
    unavailable_isas_throw();
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
