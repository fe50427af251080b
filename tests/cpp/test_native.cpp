// A small program with every kind of step, on every instruction set, a GPU and mask, against a naive
// evaluation. A plain executable: it says what failed and returns 1.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "znas/grams.hpp"
#include "znas/native/program.hpp"
#if ZNAS_CUDA
#include "znas/cuda/execute.hpp"
#endif

namespace {

using namespace znas::native;

constexpr int kImages = 5;

std::vector<float> normal(std::mt19937& rng, std::size_t size, float scale) {
    std::normal_distribution<float> draw(0, scale);
    std::vector<float> values(size);
    for (float& value : values) value = draw(rng);
    return values;
}

Term product(int source, int slot, bool rectified, int kernel, int stride, std::vector<float> weights) {
    return {.kind = Term::Kind::kProduct,
            .source = source,
            .slot = slot,
            .rectified = rectified,
            .kernel = kernel,
            .stride = stride,
            .padding = kernel / 2,
            .values = std::move(weights)};
}

Term depthwise(int source, int slot, int kernel, int stride, int dilation, std::vector<float> weights) {
    return {.kind = Term::Kind::kDepthwise,
            .source = source,
            .slot = slot,
            .rectified = true,
            .kernel = kernel,
            .stride = stride,
            .padding = dilation * (kernel / 2),
            .dilation = dilation,
            .values = std::move(weights)};
}

Term average_pool(int source, int slot, int kernel, int stride, std::vector<float> scale) {
    return {.kind = Term::Kind::kAveragePool,
            .source = source,
            .slot = slot,
            .kernel = kernel,
            .stride = stride,
            .padding = kernel / 2,
            .values = std::move(scale)};
}

Term constant(int slot, std::vector<float> values) {
    return {.kind = Term::Kind::kConstant, .slot = slot, .values = std::move(values)};
}

struct Network {
    std::vector<Value> values;
    Head head;
    std::vector<std::vector<int>> sites;
};

std::size_t size_of(const Shape& shape) {
    return static_cast<std::size_t>(shape.channels) * static_cast<std::size_t>(shape.height) *
           static_cast<std::size_t>(shape.width);
}

// images -> sum (stem) -> sum of 3x3 windows of two planes -> depthwise for a 1x1 convolution, max pool,
// depthwise with a bias for a ReLU -> sum with every kind of term, one of them strided, average pools of two
// geometries, one of them of two values -> sum of 1x1 convolutions of depthwise ones and what lies beside
// them.
Network network(const Shape& whole, int kernel, int dilation, bool moments) {
    std::mt19937 rng(5);
    const auto c = static_cast<std::size_t>(whole.channels);
    const Shape half{whole.channels, (whole.height + 1) / 2, (whole.width + 1) / 2};
    Network net;
    net.values.push_back({Value::Kind::kImages, {3, whole.height, whole.width}, {}, false});
    net.values.push_back(
        {Value::Kind::kSum, whole, {product(0, kNoSlot, false, 3, 1, normal(rng, c * 27, 0.3F))}, moments});
    net.values.push_back({Value::Kind::kSum,
                          whole,
                          {product(1, 6, true, 3, 1, normal(rng, c * c * 9, 0.1F)),
                           product(1, 7, true, 1, 1, normal(rng, c * c, 0.2F)),
                           product(1, kNoSlot, false, 3, 1, normal(rng, c * c * 9, 0.1F)),
                           average_pool(1, 8, 3, 1, normal(rng, c, 1)), constant(kNoSlot, normal(rng, c, 1))},
                          false});
    const auto filters = [&] { return normal(rng, c * kernel * kernel, 0.3F); };
    net.values.push_back(
        {Value::Kind::kSum, half, {depthwise(2, kNoSlot, kernel, 2, dilation, filters())}, false});
    net.values.push_back(
        {Value::Kind::kMaxPool,
         half,
         {{.kind = Term::Kind::kLinear, .source = 2, .kernel = 3, .stride = 2, .padding = 1}},
         false});
    net.values.push_back(
        {Value::Kind::kSum,
         half,
         {depthwise(2, kNoSlot, kernel, 2, dilation, filters()), constant(kNoSlot, normal(rng, c, 1))},
         false});
    net.values.push_back({Value::Kind::kSum,
                          half,
                          {product(2, 0, true, 3, 2, normal(rng, c * c * 9, 0.1F)),
                           product(2, 1, true, 1, 2, normal(rng, c * c, 0.2F)),
                           product(5, kNoSlot, true, 1, 1, normal(rng, c * c, 0.2F)),
                           depthwise(1, 7, kernel, 2, dilation, filters()),
                           average_pool(2, 3, 3, 2, normal(rng, c, 1)),
                           average_pool(1, 9, 3, 2, normal(rng, c, 1)),
                           average_pool(1, 10, 5, 2, normal(rng, c, 1)),
                           {.kind = Term::Kind::kLinear, .source = 4, .slot = 4, .values = normal(rng, c, 1)},
                           constant(5, normal(rng, c, 1))},
                          false});
    net.values.push_back(
        {Value::Kind::kSum, half, {depthwise(6, kNoSlot, kernel, 1, dilation, filters())}, false});
    net.values.push_back({Value::Kind::kSum,
                          half,
                          {product(3, 2, false, 1, 1, normal(rng, c * c, 0.2F)),
                           product(7, 9, false, 1, 1, normal(rng, c * c, 0.2F)),
                           product(6, kNoSlot, true, 3, 1, normal(rng, c * c * 9, 0.1F)),
                           average_pool(6, 8, 3, 1, normal(rng, c, 1)),
                           {.kind = Term::Kind::kLinear, .source = 4, .slot = 4, .values = normal(rng, c, 1)},
                           constant(kNoSlot, normal(rng, c, 1))},
                          false});
    net.head = {{8}, true, 7, normal(rng, 7 * c, 1)};
    net.sites = {{2, 5}, {6, 1}, {2}, {6}};
    return net;
}

// Values 1 and 5 have moments, by which the last value reads the latter.
Network normalised(Network net) {
    std::mt19937 rng(6);
    const auto c = static_cast<std::size_t>(net.values[5].shape.channels);
    net.values[1].moments = net.values[5].moments = true;
    net.values[6].terms.push_back({.kind = Term::Kind::kLinear,
                                   .source = 5,
                                   .slot = 8,
                                   .normalised = true,
                                   .values = normal(rng, c, 1)});
    return net;
}

std::vector<float> images_of(const Network& net, unsigned seed) {
    std::mt19937 rng(seed);
    return normal(rng, kImages * size_of(net.values[0].shape), 1);
}

const float* image_of(const Network& net, const std::vector<float>& images, int n) {
    return images.data() + static_cast<std::size_t>(n) * size_of(net.values[0].shape);
}

struct Naive {
    std::vector<double> logits;
    std::vector<std::vector<double>> values;  // [channels, height, width]
};

// One image, term by term, in double precision.
Naive naive(const Network& net, const std::vector<float>& mask, const float* image) {
    std::vector<std::vector<double>> made;
    for (const Value& value : net.values) {
        const Shape& s = value.shape;
        std::vector<double> out(static_cast<std::size_t>(s.channels) * s.height * s.width, 0.0);
        if (value.kind == Value::Kind::kImages) out.assign(image, image + out.size());
        for (const Term& term : value.terms) {
            const double factor =
                term.slot == kNoSlot ? 1.0 : static_cast<double>(mask[static_cast<std::size_t>(term.slot)]);
            const bool constant = term.kind == Term::Kind::kConstant;
            const Shape in = constant ? s : net.values[static_cast<std::size_t>(term.source)].shape;
            const auto read = [&](int c, int y, int x) {
                const double v = made[static_cast<std::size_t>(term.source)]
                                     [(static_cast<std::size_t>(c) * in.height + y) * in.width + x];
                return term.rectified && v < 0 ? 0.0 : v;
            };
            for (int c = 0; c < s.channels; ++c) {
                for (int y = 0; y < s.height; ++y) {
                    for (int x = 0; x < s.width; ++x) {
                        double& to = out[(static_cast<std::size_t>(c) * s.height + y) * s.width + x];
                        if (constant) {
                            to += factor * term.values[static_cast<std::size_t>(c)];
                            continue;
                        }
                        if (term.kind == Term::Kind::kLinear && value.kind == Value::Kind::kSum) {
                            to += factor * term.values[static_cast<std::size_t>(c)] * read(c, y, x);
                            continue;
                        }
                        double total = 0, best = -1e300;
                        int seen = 0;
                        for (int ky = 0; ky < term.kernel; ++ky) {
                            for (int kx = 0; kx < term.kernel; ++kx) {
                                const int row = y * term.stride - term.padding + ky * term.dilation;
                                const int column = x * term.stride - term.padding + kx * term.dilation;
                                if (row < 0 || column < 0 || row >= in.height || column >= in.width) continue;
                                ++seen;
                                const int tap = ky * term.kernel + kx, taps = term.kernel * term.kernel;
                                if (value.kind == Value::Kind::kMaxPool) {
                                    best = std::max(best, read(c, row, column));
                                } else if (term.kind == Term::Kind::kDepthwise) {
                                    total += term.values[static_cast<std::size_t>(c) * taps + tap] *
                                             read(c, row, column);
                                } else if (term.kind == Term::Kind::kAveragePool) {
                                    total += read(c, row, column);
                                } else {
                                    for (int i = 0; i < in.channels; ++i) {
                                        total += term.values[(static_cast<std::size_t>(c) * in.channels + i) *
                                                                 taps +
                                                             tap] *
                                                 read(i, row, column);
                                    }
                                }
                            }
                        }
                        if (value.kind == Value::Kind::kMaxPool) {
                            to = best;
                        } else if (term.kind == Term::Kind::kAveragePool) {
                            to += factor * term.values[static_cast<std::size_t>(c)] * total / seen;
                        } else {
                            to += factor * total;
                        }
                    }
                }
            }
        }
        made.push_back(std::move(out));
    }
    const Shape& last = net.values.back().shape;
    std::vector<double> logits(static_cast<std::size_t>(net.head.classes), 0.0);
    const int pixels = last.height * last.width;
    for (int k = 0; k < net.head.classes; ++k) {
        for (int c = 0; c < last.channels; ++c) {
            double mean = 0;
            for (int p = 0; p < pixels; ++p)
                mean += std::max(0.0, made.back()[static_cast<std::size_t>(c) * pixels + p]) / pixels;
            logits[static_cast<std::size_t>(k)] +=
                net.head.weights[static_cast<std::size_t>(k) * last.channels + c] * mean;
        }
    }
    return {logits, made};
}

int failures = 0;

// What a run gives, with the values of the kept sites.
struct Found : Output {
    std::vector<std::vector<float>> features;
};

// What runs programs here: every instruction set, and the first GPU.
struct Executor {
    std::string name;
    const Layout* layout;
    double tolerance;
    // What every mask gives. kept, wanted: sites whose values and whose codes are handed out.
    std::function<std::vector<Found>(const std::shared_ptr<const Program>&, const Masks&,
                                     const std::vector<float>& images, const std::vector<int>& kept,
                                     const std::vector<int>& wanted, const std::int64_t* labels)>
        run;
};

std::vector<Found> run_together(const std::shared_ptr<const Program>& program, const Masks& masks,
                                const std::vector<float>& images, const std::vector<int>& kept,
                                const std::vector<int>& wanted, const std::int64_t* labels) {
    const auto compiled = program->compile(masks, kept);
    std::vector<std::vector<float>> features;
    std::vector<float*> places;
    for (const std::size_t size : kept_sizes(*compiled)) features.emplace_back(size * kImages);
    for (auto& site : features) places.push_back(site.data());
    std::vector<Found> outputs;
    const std::vector<std::vector<int>> sites(masks.size(), wanted);
    for (Output& output : run(*compiled, images.data(), kImages, sites, places, labels)) {
        Found& found = outputs.emplace_back();
        static_cast<Output&>(found) = std::move(output);
        for (const int k : kept_of(*compiled)[outputs.size() - 1]) {
            found.features.push_back(features[static_cast<std::size_t>(k)]);
        }
    }
    return outputs;
}

#if ZNAS_CUDA
std::size_t at(int index) { return static_cast<std::size_t>(index); }

// expected, found: products of rows that are so long with others that are so long.
void expect_products(const std::vector<double>& expected, const double* found,
                     const std::vector<double>& lengths, const std::vector<double>& others,
                     const std::string& what) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const double scale = lengths[i / others.size()] * others[i % others.size()];
        if (std::abs(found[i] - expected[i]) <= 1e-5 * scale) continue;
        ++failures;
        std::printf("FAILED %s on the GPU: number %zu is %g, not %g\n", what.c_str(), i, found[i],
                    expected[i]);
    }
}

// Roots of the diagonal; a row of zeros has none, of which the products must be zero to a bit.
std::vector<double> lengths_of(const std::vector<double>& gram, std::size_t rows) {
    std::vector<double> lengths;
    for (std::size_t r = 0; r < rows; ++r) lengths.push_back(std::sqrt(gram[r * rows + r]));
    return lengths;
}

// Sums of products of features, on the GPU as on the host. sites: two, the pixels of the second half of those
// of the first, or half of one more.
void check_grams(const std::shared_ptr<const Program>& program, const Masks& masks,
                 const std::vector<float>& images, const std::vector<int>& sites) {
    const std::vector<Shape> shapes = {program->values()[at(program->sites()[at(sites[0])][0])].shape,
                                       program->values()[at(program->sites()[at(sites[1])][0])].shape};
    const auto network = znas::cuda::network(program, sites, 0);
    std::vector<float> slots, moved = images;
    for (const auto& mask : masks) slots.insert(slots.end(), mask.begin(), mask.end());
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += 0.01F * static_cast<float>(i % 7);
    const auto see = [&](const std::vector<float>& pixels) {
        const auto there = znas::cuda::upload(*network, pixels.data(), kImages);
        return znas::cuda::run(network, *there, slots, static_cast<int>(masks.size()), false).features;
    };
    const auto still = see(images), nudged = see(moved);
    const auto of_channels = znas::cuda::channel_grams(*still, {0, 1});
    const auto of_images = znas::cuda::image_grams(*still, {0, 1});
    const auto of_answers = znas::cuda::answer_products(*still, *nudged, *nudged, *still, {0, 1});
    const auto of_one = znas::cuda::response_grams(*still, *nudged, {1, 1})[0];
    const std::vector<std::vector<float>> before = {znas::cuda::download(*still, 0),
                                                    znas::cuda::download(*still, 1)};
    const std::vector<std::vector<float>> after = {znas::cuda::download(*nudged, 0),
                                                   znas::cuda::download(*nudged, 1)};
    const bool whole = shapes[0].height == 2 * shapes[1].height && shapes[0].width == 2 * shapes[1].width;
    std::vector<znas::cuda::ResponseGram> of_both;
    try {
        of_both = znas::cuda::response_grams(*still, *nudged, {0, 1});
    } catch (const std::invalid_argument&) {
    }
    if (of_both.size() != (whole ? 1U : 0U)) {
        ++failures;
        std::printf("FAILED response_grams on the GPU: pixels that are no whole fraction\n");
    }
    const std::size_t channels = at(shapes[0].channels);
    for (std::size_t m = 0; m < masks.size(); ++m) {
        std::vector<znas::Answer> answers;
        for (std::size_t k = 0; k < 2; ++k) {
            const std::size_t units = size_of(shapes[k]), pixels = units / channels;
            const float* x = before[k].data() + m * kImages * units;
            answers.push_back({x, after[k].data() + m * kImages * units, channels, at(shapes[k].height),
                               at(shapes[k].width)});
            std::vector<double> mean(channels), gram(channels * channels), alike(kImages * kImages);
            znas::channel_gram(x, kImages, channels, pixels, mean.data(), gram.data(), znas::Isa::kReference);
            std::vector<double> largest(channels);
            for (std::size_t i = 0; i < kImages * units; ++i) {
                double& of = largest[i / pixels % channels];
                of = std::max(of, std::abs(static_cast<double>(x[i])));
            }
            const std::vector<double> one(1, 1), lengths = lengths_of(gram, channels);
            expect_products(mean, of_channels[k].means.data() + m * channels, largest, one, "mean");
            expect_products(gram, of_channels[k].gram.data() + m * gram.size(), lengths, lengths,
                            "channel_gram");
            znas::image_gram(x, kImages, units, alike.data(), znas::Isa::kReference);
            const std::vector<double> sizes = lengths_of(alike, kImages);
            expect_products(alike, of_images[k].data() + m * alike.size(), sizes, sizes, "image_gram");
            for (std::size_t n = 0; n < kImages; ++n) {
                double square = 0;
                for (std::size_t u = n * units; u < (n + 1) * units; ++u) {
                    const double a = answers[k].nudged[u] - x[u];
                    square += a * a;
                }
                expect_products({square, square, -square}, of_answers[k].data() + (m * kImages + n) * 3,
                                {square}, {1, 1, 1}, "answer_products");
            }
        }
        const auto check_response = [&](const std::vector<znas::Answer>& pair,
                                        const znas::cuda::ResponseGram& found) {
            const auto expected = znas::response_grams(pair, kImages, znas::Isa::kReference)[0];
            const auto own = znas::response_grams({pair[1], pair[1]}, kImages, znas::Isa::kReference)[0];
            const std::vector<double> lengths = lengths_of(expected.energy, channels);
            expect_products(expected.energy, found.energy.data() + m * expected.energy.size(), lengths,
                            lengths, "energy");
            expect_products(expected.cross, found.cross.data() + m * expected.cross.size(), lengths,
                            lengths_of(own.energy, channels), "cross");
        };
        check_response({answers[1], answers[1]}, of_one);
        if (whole) check_response(answers, of_both.at(0));
    }
}

std::vector<Found> run_on_gpu(const std::shared_ptr<const Program>& program, const Masks& masks,
                              const std::vector<float>& images, const std::vector<int>& kept,
                              const std::vector<int>& wanted, const std::int64_t* labels) {
    const auto network = znas::cuda::network(program, kept, 0);
    const auto there = znas::cuda::upload(*network, images.data(), kImages);
    std::vector<float> slots;
    for (const auto& mask : masks) slots.insert(slots.end(), mask.begin(), mask.end());
    const auto count = static_cast<int>(masks.size());
    auto found = znas::cuda::run(network, *there, slots, count, !wanted.empty(), labels);
    std::vector<Found> outputs;
    for (int m = 0; m < count; ++m) {
        const auto part = [&](const std::vector<float>& of_all) {
            const auto size = static_cast<std::ptrdiff_t>(of_all.size() / masks.size());
            return std::vector<float>(of_all.begin() + m * size, of_all.begin() + (m + 1) * size);
        };
        Found& output = outputs.emplace_back();
        output.logits = part(found.logits);
        if (labels != nullptr) output.counted = found.counted.at(static_cast<std::size_t>(m));
        output.pooled = part(found.pooled);
        for (std::size_t site = 0; site < kept.size(); ++site) {
            output.features.push_back(part(znas::cuda::download(*found.features, static_cast<int>(site))));
        }
        if (!found.means.empty()) {
            output.means = found.means[static_cast<std::size_t>(m)];
            output.variances = found.variances[static_cast<std::size_t>(m)];
        }
        for (const int site : wanted) {
            output.codes.push_back(
                std::make_shared<const Codes>(znas::cuda::download(*found.codes, m, site)));
        }
    }
    return outputs;
}
#endif

std::vector<Executor> executors() {
    std::vector<Executor> found;
    const auto tolerance = [](Precision precision) {
        return precision == Precision::kFloat32 ? 1e-4 : precision == Precision::kFloat16 ? 1e-2 : 5e-2;
    };
    for (const znas::Isa isa : znas::kIsas) {
        if (!znas::available(isa)) continue;
        for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
            found.push_back({std::string(znas::name(isa)), &layout_of(precision, isa), tolerance(precision),
                             run_together});
        }
    }
#if ZNAS_CUDA
    if (znas::cuda::device_count() == 0) return found;
    for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16, Precision::kFloat16}) {
        found.push_back({"cuda", &znas::cuda::layout(precision), tolerance(precision), run_on_gpu});
    }
#endif
    return found;
}

// A bit per unit of the sites, in any order within a value: as many ones as positive units, give or take
// those that are within rounding of zero.
void check_codes(const Network& net, const Found& found, const std::vector<Naive>& expected, double tolerance,
                 const char* what) {
    for (std::size_t s = 0; s < found.codes.size(); ++s) {
        const Codes& codes = *found.codes.at(s);
        const std::size_t words = codes.size() / kImages;
        for (int n = 0; n < kImages; ++n) {
            const auto& values = expected[static_cast<std::size_t>(n)].values;
            int positive = 0, close = 0, ones = 0;
            for (const int value : net.sites[s]) {
                const auto& units = values[static_cast<std::size_t>(value)];
                double scale = 0;
                for (const double unit : units) scale = std::max(scale, std::abs(unit));
                for (const double unit : units) {
                    positive += unit > 0 ? 1 : 0;
                    close += std::abs(unit) <= tolerance * scale ? 1 : 0;
                }
            }
            for (std::size_t w = 0; w < words; ++w) {
                ones += std::popcount(codes[static_cast<std::size_t>(n) * words + w]);
            }
            if (std::abs(ones - positive) <= close) continue;
            ++failures;
            std::printf("FAILED %s: codes of site %zu, image %d: %d ones for %d positive units\n", what, s, n,
                        ones, positive);
        }
    }
}

void check_features(const Found& found, int n, const std::vector<std::vector<double>>& values,
                    const std::vector<int>& site, double tolerance, const char* what) {
    const std::size_t size = found.features.at(0).size() / kImages;
    const float* at = found.features[0].data() + static_cast<std::size_t>(n) * size;
    for (const int value : site) {
        const auto& expected = values[static_cast<std::size_t>(value)];
        double scale = 0.05;
        for (const double e : expected) scale = std::max(scale, std::abs(e));
        for (const double e : expected) {
            const double error = std::abs(static_cast<double>(*at++) - e);
            if (error <= tolerance * scale) continue;
            ++failures;
            std::printf("FAILED %s: image %d, value %d handed out: off by %g of %g\n", what, n, value, error,
                        scale);
        }
    }
    if (at != found.features[0].data() + static_cast<std::size_t>(n + 1) * size) ++failures;
}

void check(const Network& net, const char* what) {
    const std::vector<float> images = images_of(net, 9);
    // The last slot is read by nothing.
    const Masks masks = {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                         {0.5F, 0, 0.25F, 0, 2, 0, 0, 1, 0, 1, 0, 3},
                         {0, 1, 0, 0, 0, 0, 0.5F, 0, 0.5F, 0, 2, 0},
                         {0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0.5F, 1},
                         {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    std::vector<std::vector<Naive>> answers;  // per mask and image
    for (const auto& mask : masks) {
        auto& of_mask = answers.emplace_back();
        for (int n = 0; n < kImages; ++n) of_mask.push_back(naive(net, mask, image_of(net, images, n)));
    }
    // Values 6 and 1 are handed out, one after another, also where the mask cuts them off.
    const int kept = 1;
    for (const Executor& executor : executors()) {
        const auto program =
            std::make_shared<const Program>(net.values, net.head, net.sites, *executor.layout);
        const std::vector<Found> outputs = executor.run(program, masks, images, {kept}, {}, nullptr);
        for (std::size_t m = 0; m < masks.size(); ++m) {
            const Found& found = outputs[m];
            for (int n = 0; n < kImages; ++n) {
                const auto& [expected, values] = answers[m][static_cast<std::size_t>(n)];
                const std::string where = std::string(what) + " on " + executor.name;
                check_features(found, n, values, net.sites[kept], executor.tolerance, where.c_str());
                double scale = 0.05;  // of what the logits are sums of
                for (const double e : expected) scale = std::max(scale, std::abs(e));
                for (std::size_t k = 0; k < expected.size(); ++k) {
                    const double error = std::abs(
                        found.logits[static_cast<std::size_t>(n) * expected.size() + k] - expected[k]);
                    if (error <= executor.tolerance * scale) continue;
                    ++failures;
                    std::printf("FAILED %s: image %d, class %zu: off by %g of %g\n", where.c_str(), n, k,
                                error, scale);
                }
            }
        }
        const std::vector<Found> coded =
            executor.run(program, {masks[1], masks[0]}, images, {}, {0, 1}, nullptr);
        for (std::size_t m = 0; m < coded.size(); ++m) {
            check_codes(net, coded[m], answers[1 - m], executor.tolerance, executor.name.c_str());
        }
#if ZNAS_CUDA
        // Features are float32 whatever the pass was.
        if (executor.layout == &znas::cuda::layout(Precision::kFloat32)) {
            check_grams(program, masks, images, {2, 3});
        }
#endif
    }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}
bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const auto& one, const auto& other) { return same_bits(one, other); });
}

bool same(const Found& a, const Found& b) {
    return same_bits(a.logits, b.logits) && same_bits(a.pooled, b.pooled) &&
           same_bits(a.features, b.features) && same_bits(a.means, b.means) &&
           same_bits(a.variances, b.variances) &&
           std::equal(a.codes.begin(), a.codes.end(), b.codes.begin(), b.codes.end(),
                      [](const auto& one, const auto& other) { return *one == *other; });
}

// Every mask is in one part, and no part takes more than it may.
void check_parts(const Program& program, const Masks& masks, const char* what) {
    const auto bytes = [&](const std::vector<std::size_t>& numbers) {
        Masks part;
        for (const std::size_t m : numbers) part.push_back(masks[m]);
        return run_bytes(*program.compile(part), kImages);
    };
    std::size_t fewest = masks.size(), most = 0;
    for (const std::size_t room : {std::size_t{0}, std::size_t{20000}, std::size_t{1} << 27}) {
        const auto parts = program.parts(masks, {}, kImages, room);
        std::vector<std::size_t> numbers;
        for (const auto& part : parts) {
            std::size_t alone = 0;
            for (const std::size_t m : part) alone = std::max(alone, bytes({m}));
            numbers.insert(numbers.end(), part.begin(), part.end());
            if (bytes(part) <= alone + room) continue;
            ++failures;
            std::printf("FAILED %s: a part takes %zu bytes and one of its masks %zu\n", what, bytes(part),
                        alone);
        }
        std::sort(numbers.begin(), numbers.end());
        std::vector<std::size_t> all(masks.size());
        std::iota(all.begin(), all.end(), std::size_t{0});
        fewest = std::min(fewest, parts.size());
        most = std::max(most, parts.size());
        if (numbers == all) continue;
        ++failures;
        std::printf("FAILED %s: parts are not all masks\n", what);
    }
    if (fewest == 1 && most > 1) return;
    ++failures;
    std::printf("FAILED %s: %zu to %zu parts\n", what, fewest, most);
}

// Masks that share values, in any company: every bit is that of the mask alone. What is equal is handed out
// once.
void check_sharing(const Network& net, const char* what) {
    const std::vector<float> images = images_of(net, 11);
    Masks masks = {std::vector<float>(11, 1.0F)};
    for (std::size_t slot = 0; slot < 11; ++slot) {  // 0 to 5 are read last
        for (const float entry : {0.0F, 0.5F}) {
            masks.push_back(masks[0]);
            masks.back()[slot] = entry;
        }
    }
    masks.push_back(masks[3]);
    masks.emplace_back(11, 8.0F);  // float16 has other exponents under it
    for (const Executor& executor : executors()) {
        const auto program =
            std::make_shared<const Program>(net.values, net.head, net.sites, *executor.layout);
        const auto fail = [&](const std::string& why) {
            ++failures;
            std::printf("FAILED %s on %s: %s\n", what, executor.name.c_str(), why.c_str());
        };
        const std::vector<Found> together = executor.run(program, masks, images, {1, 0}, {0, 1}, nullptr);
        for (std::size_t m = 0; m < masks.size(); ++m) {
            const Found alone = executor.run(program, {masks[m]}, images, {1, 0}, {0, 1}, nullptr).at(0);
            if (!same(together[m], alone)) fail("mask " + std::to_string(m) + " is another one in company");
        }
        if (executor.name == "cuda") continue;
        if (together[1].codes[0] != together[0].codes[0]) fail("codes of the same values are there twice");
        check_parts(*program, masks, what);
    }
}

#if ZNAS_CUDA
// Wherever memory ends, a run says so or gives what it gives with all of it, and nobody works on what was
// given back. Only the emulated GPU heeds the variable.
void check_full_memory(const Network& net) {
    const std::vector<float> images = images_of(net, 13);
    const Masks masks = {std::vector<float>(11, 1.0F), std::vector<float>(11, 0.5F)};
    const auto program = std::make_shared<const Program>(net.values, net.head, net.sites,
                                                         znas::cuda::layout(Precision::kFloat16));
    const auto seen = [&] { return run_on_gpu(program, masks, images, {1}, {0, 1}, nullptr); };
    const std::vector<Found> expected = seen();
    int enough = 0;
    for (std::size_t bytes = 1000; enough < 3; bytes += bytes / 16) {
        setenv("ZNAS_EMULATED_GPU_BYTES", std::to_string(bytes).c_str(), 1);
        try {
            const std::vector<Found> found = seen();
            ++enough;
            if (std::equal(found.begin(), found.end(), expected.begin(), expected.end(), same)) continue;
            ++failures;
            std::printf("FAILED with %zu bytes: other results\n", bytes);
        } catch (const znas::cuda::OutOfMemory&) {
        }
    }
    unsetenv("ZNAS_EMULATED_GPU_BYTES");
}
#endif

// What is no number stays none: in a max pool wherever its window has one, and behind a ReLU.
void check_nan(int stride) {
    std::mt19937 rng(3);
    constexpr int kSide = 6, kChannels = 16, kY = 2, kX = 3;
    const Shape whole{kChannels, kSide, kSide}, pooled{kChannels, kSide / stride, kSide / stride};
    Network net;
    net.values.push_back({Value::Kind::kImages, {3, kSide, kSide}, {}, false});
    net.values.push_back(
        {Value::Kind::kSum, whole, {product(0, kNoSlot, false, 1, 1, normal(rng, kChannels * 3, 1))}, false});
    net.values.push_back(
        {Value::Kind::kMaxPool,
         pooled,
         {{.kind = Term::Kind::kLinear, .source = 1, .kernel = 3, .stride = stride, .padding = 1}},
         false});
    net.values.push_back({Value::Kind::kSum,
                          pooled,
                          {{.kind = Term::Kind::kLinear, .source = 2, .values = normal(rng, kChannels, 1)}},
                          false});
    net.values.push_back({Value::Kind::kSum,
                          pooled,
                          {product(3, kNoSlot, true, 1, 1, normal(rng, kChannels * kChannels, 1))},
                          false});
    net.head = {{4}, false, 2, normal(rng, 2 * kChannels, 1)};
    net.sites = {{3}, {4}};
    std::vector<float> images = images_of(net, 5);
    images[kY * kSide + kX] = std::numeric_limits<float>::quiet_NaN();
    for (const Executor& executor : executors()) {
        const auto program =
            std::make_shared<const Program>(net.values, net.head, net.sites, *executor.layout);
        const Found found = executor.run(program, {{1}}, images, {0, 1}, {}, nullptr).at(0);
        for (const auto& values : found.features) {
            for (int y = 0; y < pooled.height; ++y) {
                for (int x = 0; x < pooled.width; ++x) {
                    const bool expected = std::abs(y * stride - kY) <= 1 && std::abs(x * stride - kX) <= 1;
                    for (int c = 0; c < kChannels; ++c) {
                        const int at = (c * pooled.height + y) * pooled.width + x;
                        if (std::isnan(values[static_cast<std::size_t>(at)]) == expected) continue;
                        ++failures;
                        std::printf("FAILED NaN on %s: stride %d, (%d, %d, %d)\n", executor.name.c_str(),
                                    stride, c, y, x);
                    }
                }
            }
        }
    }
}

// Mean and biased variance of value 1 over all images and pixels.
void check_moments(const Network& net) {
    const std::vector<float> images = images_of(net, 2);
    const std::vector<float> mask(11, 1.0F);
    const auto channels = static_cast<std::size_t>(net.values[1].shape.channels);
    const std::size_t pixels = size_of(net.values[1].shape) / channels;
    std::vector<double> sum(channels), square(channels);
    for (int n = 0; n < kImages; ++n) {
        const auto made = naive(net, mask, image_of(net, images, n)).values[1];
        for (std::size_t i = 0; i < made.size(); ++i) {
            sum[i / pixels] += made[i];
            square[i / pixels] += made[i] * made[i];
        }
    }
    const double count = static_cast<double>(kImages * pixels);
    for (const Executor& executor : executors()) {
        const auto program =
            std::make_shared<const Program>(net.values, net.head, net.sites, *executor.layout);
        const Found found = executor.run(program, {mask}, images, {}, {}, nullptr).at(0);
        bool good = found.means.size() == 1 && found.means[0].size() == channels &&
                    found.variances.size() == 1 && found.variances[0].size() == channels;
        for (std::size_t c = 0; good && c < channels; ++c) {
            const double mean = sum[c] / count, variance = square[c] / count - mean * mean;
            good = std::abs(found.means[0][c] - mean) <= executor.tolerance * std::sqrt(variance) &&
                   std::abs(found.variances[0][c] - variance) <= executor.tolerance * variance;
        }
        if (good) continue;
        ++failures;
        std::printf("FAILED moments on %s\n", executor.name.c_str());
    }
}

// Counts are those of the logits of the same run, which then stay; a mask that overflows says so.
void check_counts(const Network& net) {
    const std::vector<float> images = images_of(net, 4);
    const Masks masks = {std::vector<float>(11, 1.0F), std::vector<float>(11, 0.0F),
                         std::vector<float>(11, 1e30F)};
    const std::vector<std::int64_t> labels{0, 3, 6, 1, 0};
    for (const Executor& executor : executors()) {
        const auto program =
            std::make_shared<const Program>(net.values, net.head, net.sites, *executor.layout);
        const auto told = executor.run(program, masks, images, {}, {}, nullptr);
        const auto counted = executor.run(program, masks, images, {}, {}, labels.data());
        for (std::size_t m = 0; m < masks.size(); ++m) {
            Count expected;
            for (std::size_t n = 0; n < labels.size(); ++n) {
                const auto classes = static_cast<std::ptrdiff_t>(net.head.classes);
                const auto row = told[m].logits.begin() + static_cast<std::ptrdiff_t>(n) * classes;
                expected.correct += std::max_element(row, row + classes) - row == labels[n] ? 1 : 0;
                expected.finite = expected.finite &&
                                  std::all_of(row, row + classes, [](float x) { return std::isfinite(x); });
            }
            const auto& found = counted[m].counted;
            if (expected.finite == (m == 2)) ++failures;  // or this shows nothing
            if (found && counted[m].logits.empty() && found->finite == expected.finite &&
                (!expected.finite || found->correct == expected.correct)) {
                continue;
            }
            ++failures;
            std::printf("FAILED counts of mask %zu on %s\n", m, executor.name.c_str());
        }
    }
}

}  // namespace

// few: some of the networks, where everything takes ten times as long (sanitizers on the emulated GPU).
int main(int count, char** arguments) {
    const bool few = count > 1 && std::string(arguments[1]) == "few";
    for (const int channels : {3, 16, 21, 32}) {
        for (const int kernel : {3, 5, 7}) {
            for (const int dilation : {1, 2}) {
                const bool chosen = kernel == 5 && dilation == 1 && (channels == 21 || channels == 32);
                if (!few || chosen) check(network({channels, 10, 10}, kernel, dilation, false), "10 x 10");
            }
        }
    }
    check(network({21, 7, 9}, 3, 1, false), "odd sides");
    if (!few) {
        check(network({16, 6, 34}, 3, 1, false), "wide");
        check(network({32, 16, 16}, 3, 1, false), "16 x 16");
        check(network({64, 6, 6}, 3, 1, false), "64 channels");
    }
    check_sharing(network({21, 10, 10}, 3, 1, false), "sharing");
    check_sharing(normalised(network({21, 10, 10}, 3, 1, true)), "sharing, moments");
    check_moments(network({5, 10, 10}, 3, 1, true));
    check_counts(network({16, 10, 10}, 3, 1, false));
    for (const int stride : {1, 2}) check_nan(stride);
#if ZNAS_CUDA
    if (znas::cuda::device_count() > 0) check_full_memory(network({3, 6, 6}, 3, 1, true));
#endif
    if (failures == 0) std::puts("ok");
    return failures == 0 ? 0 : 1;
}
