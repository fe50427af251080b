// The CUDA kernels against the reference, bit for bit, on sizes around every tile and block boundary.
// A plain executable: it says what failed and returns 1, or 77 where there is no GPU (ctest: skipped).
#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "code_gram.hpp"
#include "code_patterns.hpp"
#include "pass.hpp"
#include "znas/codes.hpp"
#include "znas/count_correct.hpp"

namespace {

using znas::Isa;

constexpr int kSkipped = 77;
int failures = 0;

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    std::printf("FAILED %s: %s\n", what, cudaGetErrorString(error));
    std::exit(1);
}

template <typename T>
void expect_equal(const std::vector<T>& expected, const std::vector<T>& found, const char* what,
                  std::size_t size) {
    if (expected == found) return;
    ++failures;
    std::printf("FAILED %s: size %zu\n", what, size);
}

// An array on the device.
template <typename T>
class Array {
  public:
    explicit Array(const std::vector<T>& values) : size_(values.size()) {
        check(cudaMalloc(&data_, size_ * sizeof(T)), "cudaMalloc");
        check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() { cudaFree(data_); }

    T* data() const { return static_cast<T*>(data_); }
    std::vector<T> values() const {
        std::vector<T> found(size_);
        check(cudaDeviceSynchronize(), "kernel");
        check(cudaMemcpy(found.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
        return found;
    }

  private:
    std::size_t size_;
    void* data_ = nullptr;
};

std::vector<float> normal(std::mt19937& rng, std::size_t size) {
    std::normal_distribution<float> draw;
    std::vector<float> values(size);
    for (float& value : values) value = draw(rng);
    return values;
}

// Three masks, codes of two ranges: what a range under a zero holds is never read.
void code_gram(std::mt19937& rng) {
    constexpr std::size_t kMasks = 3;
    const std::vector<std::int32_t> times{3, 1, 0, 2, 1, 0};  // [masks, ranges]
    for (const std::size_t images : {1, 15, 16, 31, 32, 33, 70}) {
        for (const std::size_t units : {1, 64, 65, 2048, 5000}) {
            const std::size_t used = znas::code_words(units);
            const std::size_t words =
                (used + znas::cuda::kCodeWords - 1) / znas::cuda::kCodeWords * znas::cuda::kCodeWords;
            std::vector<std::uint64_t> codes(kMasks * images * 2 * words);
            std::vector<std::int64_t> expected(kMasks * images * images, 0);
            for (std::size_t m = 0; m < kMasks; ++m) {
                for (std::size_t r = 0; r < 2; ++r) {
                    const std::vector<float> activations = normal(rng, images * units);
                    std::vector<std::uint64_t> packed(images * used);
                    znas::pack_codes(activations.data(), images, units, packed.data(), Isa::kReference, 1);
                    std::vector<std::int64_t> alike(images * images);
                    znas::code_gram(packed.data(), images, units, alike.data(), Isa::kReference, 1);
                    for (std::size_t i = 0; i < alike.size(); ++i) {
                        expected[m * alike.size() + i] += times[2 * m + r] * alike[i];
                    }
                    for (std::size_t i = 0; i < packed.size(); ++i) {
                        const std::size_t image = m * images + i / used;
                        codes[(image * 2 + r) * words + i % used] = packed[i];
                    }
                }
            }
            const auto bits = static_cast<std::int64_t>(units);
            const Array<std::uint64_t> there(codes);
            const Array<znas::cuda::CodeRange> ranges({{0, words, bits}, {words, 2 * words, bits}});
            const Array<std::int32_t> factors(times);
            const Array<std::int64_t> gram(std::vector<std::int64_t>(expected.size(), 0));
            check(znas::cuda::code_gram(there.data(), kMasks, static_cast<int>(images), 2 * words,
                                        ranges.data(), 2, factors.data(), gram.data(), nullptr),
                  "code_gram");
            expect_equal(expected, gram.values(), "code_gram", units);
        }
    }
}

// Two values of which a mask counts one, both or none; few units among many alike, all of them active once.
void count_patterns(std::mt19937& rng) {
    constexpr std::size_t kMasks = 3;
    const std::vector<std::int32_t> times{1, 2, 0, 1, 0, 0};  // [masks, values]
    for (const std::size_t images : {1, 5, 16, 63, 64}) {
        for (const std::size_t channels : {1, 15, 16, 40}) {
            constexpr std::size_t kPixels = 9;
            const std::size_t entries = (channels + 15) / 16 * kPixels, image_codes = 2 * entries + 3;
            std::vector<std::uint16_t> codes(kMasks * images * image_codes);
            std::vector<std::int32_t> expected;
            std::bernoulli_distribution rare(0.05), even(0.5);
            for (std::size_t m = 0; m < kMasks; ++m) {
                std::set<std::vector<bool>> seen;
                for (std::size_t v = 0; v < 2; ++v) {
                    for (std::size_t c = 0; c < channels; ++c) {
                        for (std::size_t p = 0; p < kPixels; ++p) {
                            std::vector<bool> pattern(images, p == 0);
                            if (p == 1) {
                                for (std::size_t n = 0; n < images; ++n) pattern[n] = even(rng);
                            } else if (p > 1) {
                                pattern[c % images] = rare(rng);
                            }
                            for (std::size_t n = 0; n < images; ++n) {
                                const std::size_t entry = v * entries + c / 16 * kPixels + p;
                                const unsigned bit = pattern[n] ? 1U << c % 16 : 0U;
                                codes[(m * images + n) * image_codes + entry] |=
                                    static_cast<std::uint16_t>(bit);
                            }
                            if (times[2 * m + v] != 0) seen.insert(std::move(pattern));
                        }
                    }
                }
                expected.push_back(static_cast<std::int32_t>(seen.size()));
            }
            const std::size_t slots = std::bit_ceil(2 * channels * kPixels + 1);
            const Array<std::uint16_t> there(codes);
            const Array<znas::cuda::CodeUnits> values(
                {{0, static_cast<int>(channels), kPixels}, {entries, static_cast<int>(channels), kPixels}});
            const Array<std::int32_t> factors(times);
            const Array<unsigned long long> tables(
                std::vector<unsigned long long>(kMasks * (slots + 1), ~0ULL));
            const Array<std::int32_t> found(std::vector<std::int32_t>(kMasks, 0));
            check(znas::cuda::count_patterns(there.data(), kMasks, static_cast<int>(images), image_codes,
                                             values.data(), 2, static_cast<int>(entries), factors.data(),
                                             tables.data(), slots, found.data(), nullptr),
                  "count_patterns");
            expect_equal(expected, found.values(), "count_patterns", channels);
        }
    }
}

// Many ties, which the lowest class wins; what is not finite is told apart, and its image may count either
// way.
void count_correct(std::mt19937& rng) {
    constexpr std::size_t kMasks = 3;
    for (const std::size_t images : {1, 37, 256, 300}) {
        for (const std::size_t classes : {1, 2, 10, 100}) {
            std::vector<float> logits = normal(rng, kMasks * images * classes);
            for (float& logit : logits) logit = std::round(logit);
            std::uniform_int_distribution<std::int64_t> draw(0, static_cast<std::int64_t>(classes) - 1);
            std::vector<std::int64_t> labels(images);
            for (std::int64_t& label : labels) label = draw(rng);
            std::vector<std::int64_t> expected(kMasks);
            znas::count_correct(logits.data(), labels.data(), kMasks, images, classes, expected.data(),
                                Isa::kReference, 1);
            logits[2 * images * classes] = std::numeric_limits<float>::quiet_NaN();
            logits.back() = -std::numeric_limits<float>::infinity();
            const Array<float> there(logits);
            const Array<std::int64_t> truth(labels);
            const Array<znas::cuda::Count> counts(std::vector<znas::cuda::Count>(kMasks, {-1, -1}));
            check(znas::cuda::count_correct(there.data(), truth.data(), kMasks, static_cast<int>(images),
                                            static_cast<int>(classes), counts.data(), nullptr),
                  "count_correct");
            std::vector<std::int64_t> correct, broken;
            for (const znas::cuda::Count& of : counts.values()) {
                correct.push_back(of.correct);
                broken.push_back(of.not_finite);
            }
            correct[2] = expected[2];
            expect_equal(expected, correct, "count_correct", classes);
            expect_equal({0, 0, images == 1 ? 1 : 2}, broken, "logits that are not finite", classes);
        }
    }
}

// Waves of steps that read any of those before, under slots or not, against the rule in words: a value's
// exponent brings its largest number near 2^kTarget, and is not more than kMostShift below one that it reads.
void choose_exponents(std::mt19937& rng) {
    using namespace znas::cuda;
    constexpr int kMasks = 3, kSlots = 4;
    const auto draw = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(rng); };
    const std::vector<float> masks{1, 0, 2, 0, 0, 0.5F, 0, 0, 1, 1, 1, 1};
    std::vector<Step> steps;
    std::vector<Wave> waves;
    std::vector<Read> reads;
    std::vector<std::uint8_t> shared{1};  // value 0 is the images
    for (const int size : {40, 3, 300, 1, 40}) {
        const int made = static_cast<int>(steps.size()) + 1;  // values, before this wave
        Wave& wave = waves.emplace_back();
        wave.first = made - 1;
        wave.count = size;
        for (int i = 0; i < size; ++i) {
            Step& step = steps.emplace_back();
            step.value = static_cast<int>(steps.size());
            step.first_read = static_cast<int>(reads.size());
            step.reads = made == 1 ? 1 : draw(0, 3);
            for (int r = 0; r < step.reads; ++r) {
                reads.push_back(
                    {made == 1 ? znas::native::kNoSlot : draw(-1, kSlots - 1), draw(0, made - 1)});
            }
            shared.push_back(made == 1 && i % 2 == 0 ? 1 : 0);
        }
    }
    const int values = static_cast<int>(shared.size());
    std::vector<float> largest;
    for (int i = 0; i < kMasks * values; ++i) largest.push_back(std::ldexp(1.5F, draw(-60, 60)));
    for (std::size_t i = 1; i < largest.size(); i += 7) largest[i] = 0;
    for (std::size_t i = 2; i < largest.size(); i += 50) largest[i] = std::numeric_limits<float>::infinity();
    std::vector<std::int32_t> bits, expected(largest.size(), 0);
    for (const float number : largest) bits.push_back(std::bit_cast<std::int32_t>(number));
    for (int m = 0; m < kMasks; ++m) {
        std::int32_t* exponents = expected.data() + m * values;
        for (const Step& step : steps) {
            const auto v = static_cast<std::size_t>(step.value);
            const float number = largest[(shared[v] != 0 ? 0 : static_cast<std::size_t>(m * values)) + v];
            int exponent = std::isinf(number) ? 0 : number == 0 ? kLeast : std::ilogb(number) - kTarget;
            for (int r = step.first_read; r < step.first_read + step.reads; ++r) {
                const Read& read = reads[static_cast<std::size_t>(r)];
                const bool left =
                    read.slot < 0 || masks[static_cast<std::size_t>(m * kSlots + read.slot)] != 0;
                if (left) exponent = std::max(exponent, exponents[read.source] - kMostShift);
            }
            exponents[v] = exponent;
        }
    }
    const Array<Step> steps_there(steps);
    const Array<Wave> waves_there(waves);
    const Array<Read> reads_there(reads);
    const Array<std::uint8_t> shared_there(shared);
    const Array<float> masks_there(masks);
    const Array<std::int32_t> bits_there(bits), found(std::vector<std::int32_t>(expected.size(), 0));
    Pass pass{};
    pass.steps = steps_there.data();
    pass.values = values;
    pass.masks = kMasks;
    pass.largest = bits_there.data();
    check(znas::cuda::choose_exponents(pass, waves_there.data(), static_cast<int>(waves.size()),
                                       reads_there.data(), shared_there.data(), masks_there.data(), kSlots,
                                       found.data(), nullptr),
          "choose_exponents");
    expect_equal(expected, found.values(), "choose_exponents", steps.size());
}

}  // namespace

int main() {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::printf("skipped: no GPU\n");
        return kSkipped;
    }
    std::mt19937 rng(7);
    code_gram(rng);
    count_patterns(rng);
    count_correct(rng);
    choose_exponents(rng);
    if (failures == 0) std::printf("all equal\n");
    return failures == 0 ? 0 : 1;
}
