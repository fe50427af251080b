// Images through compiled steps, a few of them at a time so that activations stay in cache.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "arena.hpp"
#include "compiled.hpp"
#include "handed_out.hpp"
#include "znas/codes.hpp"
#include "znas/count_correct.hpp"

namespace znas::native {

namespace {

struct Moments {
    std::vector<float> mean, variance, scale;  // [blocks * kBlock]; scale = 1 / sqrt(variance + epsilon)
};

std::size_t value_size(const Shape& shape) {
    return static_cast<std::size_t>(shape.channels) * shape.height * shape.width;
}

// Entries of a site's values, per image.
std::size_t site_size(const Compiled& compiled, int site) {
    std::size_t size = 0;
    for (const int value : compiled.site(site)) size += value_size(compiled.value(value).shape);
    return size;
}

// Some images on their way through the steps together.
class ImageGroup {
  public:
    // codes: per wanted site the words of all images of the run, zero. features: per kept site their values.
    ImageGroup(const Compiled& compiled, int images, const std::vector<int>& wanted,
               std::vector<std::vector<std::uint64_t>>& codes, const std::vector<float*>& features)
        : compiled_(compiled),
          steps_(*compiled.layout->steps),
          capacity_(images),
          arena_(compiled.image_bytes * static_cast<std::size_t>(images)),
          scratch_(compiled.scratch_floats),
          transformed_(compiled.transformed_floats),
          moments_(compiled.raw.size()),
          code_places_(compiled.raw.size()),
          kept_places_(compiled.raw.size()) {
        std::size_t largest = 0;
        for (std::size_t w = 0; w < wanted.size(); ++w) {
            const std::size_t per_image = code_words(site_size(compiled, wanted[w]));
            std::size_t bit = 0;
            for (const int value : compiled.site(wanted[w])) {
                const Shape& shape = compiled.value(value).shape;
                const std::size_t pixels = static_cast<std::size_t>(shape.height) * shape.width;
                code_places_[static_cast<std::size_t>(value)].push_back({codes[w].data(), per_image, bit});
                bit += pixels * static_cast<std::size_t>(shape.channels);
                largest = std::max(largest, pixels * static_cast<std::size_t>(blocks_of(shape)));
            }
        }
        codes_.resize(largest);
        for (std::size_t k = 0; k < compiled.kept.size(); ++k) {
            const std::size_t per_image = site_size(compiled, compiled.kept[k]);
            std::size_t first = 0;
            for (const int value : compiled.site(compiled.kept[k])) {
                kept_places_[static_cast<std::size_t>(value)].push_back({features[k], per_image, first});
                first += value_size(compiled.value(value).shape);
            }
        }
    }

    // `count` images, the first of which is number `first` of the run.
    void run(const float* images, int first, int count) {
        first_ = first;
        for (const CompiledStep& step : compiled_.steps) {
            const Value& value = compiled_.value(step.value);
            const Affine affine = compiled_.batch() ? normalised(step) : Affine{};
            const Affine& ready = compiled_.batch() ? affine : step.affine;
            for (int n = 0; n < count; ++n) {
                clear_border(relu(step.value, n));
                clear_border(plain(step.value, n));
                switch (value.kind) {
                    case Value::Kind::kImages: {
                        const Shape& s = value.shape;
                        const std::size_t size = static_cast<std::size_t>(s.channels) * s.height * s.width;
                        steps_.load_images(images + n * size, s.channels, plain(step.value, n));
                        break;
                    }
                    case Value::Kind::kSum:
                        sum(step, ready, n);
                        break;
                    case Value::Kind::kMaxPool:
                        max_pool(step, n);
                        break;
                }
            }
            if (value.moments) measure(step.value, count);
            for (const KeptPlace& place : kept_places_[static_cast<std::size_t>(step.value)]) {
                for (int n = 0; n < count; ++n) copy_out(step.value, n, place);
            }
        }
    }

    // Mean over pixels, then the classifier.
    void classify(int n, float* pooled, float* logits) const {
        const Head& head = compiled_.head();
        std::size_t features = 0;
        for (const int source : head.sources) {
            const Shape& shape = compiled_.value(source).shape;
            const float* x = raw(source, n);
            const int pixels = shape.height * shape.width;
            for (int c = 0; c < shape.channels; ++c) {
                const float* channel =
                    x + static_cast<std::ptrdiff_t>(c / kBlock) * pixels * kBlock + c % kBlock;
                double total = 0;
                for (int p = 0; p < pixels; ++p) {
                    const float unit = channel[static_cast<std::ptrdiff_t>(p) * kBlock];
                    total += head.rectified && unit < 0 ? 0.0F : unit;
                }
                pooled[features++] = static_cast<float>(total / pixels);
            }
        }
        for (int k = 0; k < head.classes; ++k) {
            const float* weights = head.weights.data() + static_cast<std::size_t>(k) * features;
            double total = 0;
            for (std::size_t i = 0; i < features; ++i) total += weights[i] * pooled[i];
            logits[k] = static_cast<float>(total);
        }
    }

    const Moments& moments(int value) const { return moments_[static_cast<std::size_t>(value)]; }

  private:
    float* raw(int value, int n) const {
        const PlaneSpec& plane = compiled_.raw[static_cast<std::size_t>(value)];
        return plane.used ? reinterpret_cast<float*>(at(plane, n)) : nullptr;
    }
    HaloPlane halo_plane(const PlaneSpec& plane, int value, int n) const {
        if (!plane.used) return {};
        const Shape& shape = compiled_.value(value).shape;
        return {at(plane, n), blocks_of(shape), shape.height, shape.width, plane.halo};
    }
    HaloPlane relu(int value, int n) const {
        return halo_plane(compiled_.relu[static_cast<std::size_t>(value)], value, n);
    }
    HaloPlane plain(int value, int n) const {
        return halo_plane(compiled_.plain[static_cast<std::size_t>(value)], value, n);
    }
    char* at(const PlaneSpec& plane, int n) const {
        return arena_.data() + plane.offset * static_cast<std::size_t>(capacity_) +
               plane.bytes * static_cast<std::size_t>(n);
    }

    // The zeros around a halo plane, which steps leave alone; its place held another plane before.
    void clear_border(const HaloPlane& plane) const {
        if (plane.data == nullptr || plane.halo == 0) return;
        const std::size_t pixel = static_cast<std::size_t>(compiled_.layout->element_bytes) * kBlock;
        const std::size_t pitch = pixel * static_cast<std::size_t>(plane.pitch());
        const std::size_t side = pixel * static_cast<std::size_t>(plane.halo);
        char* at = plane.data;
        for (int b = 0; b < plane.blocks; ++b) {
            std::memset(at, 0, pitch * static_cast<std::size_t>(plane.halo));
            at += pitch * static_cast<std::size_t>(plane.halo);
            for (int row = 0; row < plane.height; ++row, at += pitch) {
                std::memset(at, 0, side);
                std::memset(at + pitch - side, 0, side);
            }
            std::memset(at, 0, pitch * static_cast<std::size_t>(plane.halo));
            at += pitch * static_cast<std::size_t>(plane.halo);
        }
    }

    // The step's affine part with the scales and the bias that the moments of its inputs give.
    Affine normalised(const CompiledStep& step) const {
        Affine ready = step.affine;
        for (CompiledLinear& linear : ready.linears) {
            if (!linear.normalised) continue;
            const Moments& moments = moments_[static_cast<std::size_t>(linear.source)];
            for (std::size_t c = 0; c < linear.scale.size(); ++c) {
                linear.scale[c] *= moments.scale[c];
                ready.bias[c] -= linear.scale[c] * moments.mean[c];
            }
        }
        return ready;
    }

    void sum(const CompiledStep& step, const Affine& affine, int n) {
        const Shape& shape = compiled_.value(step.value).shape;
        const std::vector<CodePlace>& places = code_places_[static_cast<std::size_t>(step.value)];
        const Outputs out{raw(step.value, n), relu(step.value, n), plain(step.value, n),
                          places.empty() ? nullptr : codes_.data()};
        if (step.only_depthwise()) {
            depthwise(step.depthwise[0], shape, affine.bias.data(), out, n);
        } else {
            add_up(step, affine, out, n);
        }
        for (const CodePlace& place : places) {
            const std::size_t image = static_cast<std::size_t>(first_) + static_cast<std::size_t>(n);
            append(codes_.data(), shape, place.words + image * place.per_image, place.bit);
        }
    }

    void depthwise(const CompiledDepthwise& of, const Shape& shape, const float* bias, const Outputs& out,
                   int n) {
        steps_.depthwise({of.rectified ? relu(of.source, n) : plain(of.source, n), shape.height, shape.width,
                          of.kernel, of.stride, of.first, of.dilation, of.weights.data(), bias, out});
    }

    void add_up(const CompiledStep& step, const Affine& affine, const Outputs& out, int n) {
        const Shape& shape = compiled_.value(step.value).shape;
        const int blocks = blocks_of(shape);
        std::vector<Linear> linears;
        std::vector<Product> products;
        std::vector<TransformedProduct> transformed;
        for (const CompiledLinear& linear : affine.linears) {
            linears.push_back({raw(linear.source, n), linear.scale.data()});
        }
        const bool planes = !step.pools.empty() || !step.depthwise.empty();
        const std::size_t channels = planes ? static_cast<std::size_t>(blocks) * kBlock : 0;
        const std::vector<float> ones(channels, 1.0F), zeros(channels);
        float* scratch = scratch_.data();
        const auto block = static_cast<std::ptrdiff_t>(blocks) * kBlock;
        for (const CompiledPool& pool : step.pools) {
            float* averaged = scratch;
            scratch += shape.height * shape.width * block;
            const float* source = raw(pool.linears[0].source, n);
            const float* scale = pool.linears[0].scale.data();
            if (pool.linears.size() > 1) {
                std::vector<Linear> pooled;
                for (const CompiledLinear& linear : pool.linears) {
                    pooled.push_back({raw(linear.source, n), linear.scale.data()});
                }
                steps_.combine(pooled.data(), static_cast<int>(pooled.size()), blocks,
                               static_cast<std::ptrdiff_t>(pool.height) * pool.width, scratch);
                source = scratch;
                scale = ones.data();
                scratch += pool.height * pool.width * block;
            }
            steps_.average_pool({source, blocks, pool.height, pool.width, averaged, shape.height, shape.width,
                                 pool.kernel, pool.stride, pool.padding});
            linears.push_back({averaged, scale});
        }
        for (const CompiledDepthwise& of : step.depthwise) {
            depthwise(of, shape, zeros.data(), {.raw = scratch}, n);
            linears.push_back({scratch, ones.data()});
            scratch += shape.height * shape.width * block;
        }
        for (const CompiledProduct& product : step.products) {
            const HaloPlane input = product.rectified ? relu(product.source, n) : plain(product.source, n);
            if (product.transformed) {
                transformed.push_back({input, product.words, product.weights.data()});
                continue;
            }
            products.push_back({input, product.stride, product.words, product.taps, product.offsets.data(),
                                product.weights.data()});
        }
        steps_.sum({shape.channels, shape.height, shape.width, affine.bias.data(), linears.data(),
                    static_cast<int>(linears.size()), products.data(), static_cast<int>(products.size()),
                    transformed.data(), static_cast<int>(transformed.size()), transformed_.data(), out});
    }

    void max_pool(const CompiledStep& step, int n) {
        const Value& value = compiled_.value(step.value);
        const Term& term = value.terms[0];
        const Shape& in = compiled_.value(term.source).shape;
        steps_.max_pool({raw(term.source, n), blocks_of(in), in.height, in.width, raw(step.value, n),
                         value.shape.height, value.shape.width, term.kernel, term.stride, term.padding});
    }

    void copy_out(int value, int n, const KeptPlace& place) const {
        const Shape& shape = compiled_.value(value).shape;
        const auto image = static_cast<std::size_t>(first_) + static_cast<std::size_t>(n);
        by_channel(raw(value, n), shape, place.values + image * place.per_image + place.first);
    }

    // Mean and biased variance per channel over all images and pixels.
    void measure(int value, int count) {
        const Shape& shape = compiled_.value(value).shape;
        const int blocks = blocks_of(shape), pixels = shape.height * shape.width;
        const auto channels = static_cast<std::size_t>(blocks) * kBlock;
        Moments& moments = moments_[static_cast<std::size_t>(value)];
        moments = {std::vector<float>(channels), std::vector<float>(channels), std::vector<float>(channels)};
        const double size = static_cast<double>(count) * pixels;
        for (int b = 0; b < blocks; ++b) {
            double mean[kBlock] = {}, square[kBlock] = {};
            for (int n = 0; n < count; ++n) {
                const float* x = raw(value, n) + static_cast<std::ptrdiff_t>(b) * pixels * kBlock;
                steps_.moments(x, pixels, mean, square);
            }
            for (int c = 0; c < kBlock; ++c) {
                const std::size_t at = static_cast<std::size_t>(b) * kBlock + c;
                mean[c] /= size;
                moments.mean[at] = static_cast<float>(mean[c]);
                moments.variance[at] =
                    static_cast<float>(std::max(square[c] / size - mean[c] * mean[c], 0.0));
                moments.scale[at] = 1.0F / std::sqrt(moments.variance[at] + kEpsilon);
            }
        }
    }

    const Compiled& compiled_;
    const StepTable& steps_;
    int capacity_;
    Arena arena_;
    std::vector<float> scratch_;
    std::vector<float> transformed_;
    std::vector<Moments> moments_;
    std::vector<std::vector<CodePlace>> code_places_;  // per value
    std::vector<std::vector<KeptPlace>> kept_places_;  // per value
    std::vector<std::uint16_t> codes_;                 // of one value and image [block][pixel]
    int first_ = 0;
};

Count counted(const std::vector<float>& logits, const std::int64_t* labels, std::size_t images,
              std::size_t classes) {
    Count count;
    count.finite =
        std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); });
    count_correct(logits.data(), labels, 1, images, classes, &count.correct, fastest_isa(), 1);
    return count;
}

// Images whose planes stay in cache together: of a step's weights, which are read once for all of them, late
// layers have more than of planes.
int together(const Compiled& compiled) {
    constexpr std::size_t kCache = std::size_t{8} << 20, kMost = 8;
    return static_cast<int>(
        std::clamp(kCache / std::max<std::size_t>(compiled.image_bytes, 1), std::size_t{1}, kMost));
}

}  // namespace

std::vector<std::size_t> kept_sizes(const Compiled& compiled) {
    std::vector<std::size_t> sizes;
    for (const int site : compiled.kept) sizes.push_back(site_size(compiled, site));
    return sizes;
}

Output run(const Compiled& compiled, const float* images, int count, const std::vector<int>& wanted,
           const std::vector<float*>& features, const std::int64_t* labels) {
    const int size = compiled.batch() ? count : std::min(count, together(compiled));
    const Shape& in = compiled.value(0).shape;
    const std::size_t image = static_cast<std::size_t>(in.channels) * in.height * in.width;
    const auto classes = static_cast<std::size_t>(compiled.head().classes);
    Output output;
    output.logits.resize(static_cast<std::size_t>(count) * classes);
    for (const int site : wanted) {
        output.codes.emplace_back(static_cast<std::size_t>(count) * code_words(site_size(compiled, site)));
    }
    const std::size_t width = compiled.head().weights.size() / std::max<std::size_t>(classes, 1);
    output.pooled.resize(static_cast<std::size_t>(count) * width);
    ImageGroup group(compiled, size, wanted, output.codes, features);
    for (int begin = 0; begin < count; begin += size) {
        const int here = std::min(size, count - begin);
        group.run(images + static_cast<std::size_t>(begin) * image, begin, here);
        for (int n = 0; n < here; ++n) {
            const auto at = static_cast<std::size_t>(begin + n);
            group.classify(n, output.pooled.data() + at * width, output.logits.data() + at * classes);
        }
    }
    for (std::size_t v = 0; v < compiled.raw.size(); ++v) {
        const Value& value = compiled.value(static_cast<int>(v));
        if (!value.moments) continue;
        const Moments& moments = group.moments(static_cast<int>(v));
        const auto cut = [&](const std::vector<float>& all) {
            return std::vector<float>(
                all.begin(), all.begin() + std::min<std::ptrdiff_t>(value.shape.channels,
                                                                    static_cast<std::ptrdiff_t>(all.size())));
        };
        output.means.push_back(cut(moments.mean));
        output.variances.push_back(cut(moments.variance));
    }
    if (labels != nullptr) {
        output.counted = counted(output.logits, labels, static_cast<std::size_t>(count), classes);
        output.logits = {};
    }
    return output;
}

}  // namespace znas::native
