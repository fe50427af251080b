// Images through compiled steps, a few of them at a time so that activations stay in cache.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>

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
    // features: per kept site its values of all images of the run.
    ImageGroup(const Compiled& compiled, int images, const std::vector<float*>& features)
        : compiled_(compiled),
          steps_(*compiled.layout->steps),
          capacity_(images),
          arena_(compiled.image_bytes * static_cast<std::size_t>(images)),
          scratch_(compiled.scratch_floats),
          transformed_(compiled.transformed_floats),
          moments_(compiled.raw.size()),
          code_places_(compiled.raw.size()),
          kept_places_(compiled.raw.size()) {
        for (std::size_t k = 0; k < compiled.kept.size(); ++k) {
            const auto [site, mask] = compiled.kept[k];
            const std::size_t per_image = site_size(compiled, site);
            std::size_t first = 0;
            for (const int value : compiled.site(site)) {
                kept_places_[index(compiled.variant(mask, value))].push_back({features[k], per_image, first});
                first += value_size(compiled.value(value).shape);
            }
        }
    }

    // The codes of a mask's site go to `words`, zero, of all images of the run.
    void want(std::size_t mask, int site, Codes& words) {
        const std::size_t per_image = code_words(site_size(compiled_, site));
        std::size_t bit = 0;
        for (const int value : compiled_.site(site)) {
            const Shape& shape = compiled_.value(value).shape;
            const std::size_t pixels = static_cast<std::size_t>(shape.height) * shape.width;
            const int variant = compiled_.variant(mask, value);
            if (variant != kNoVariant) code_places_[index(variant)].push_back({words.data(), per_image, bit});
            bit += pixels * static_cast<std::size_t>(shape.channels);
            codes_.resize(std::max(codes_.size(), pixels * static_cast<std::size_t>(blocks_of(shape))));
        }
    }

    // `count` images, the first of which is number `first` of the run. over(mask): called when all that the
    // mask needs is there.
    template <class Over>
    void run(const float* images, int first, int count, const Over& over) {
        first_ = first;
        std::size_t turn = 0;
        for (std::size_t mask = 0; mask < compiled_.masks.size(); ++mask) {
            look(mask);
            for (; turn < compiled_.masks[mask].end; ++turn) take(compiled_.turns[turn], images, count);
            over(mask);
        }
    }

    // From here on values are those of this mask.
    void look(std::size_t mask) { variants_ = compiled_.masks[mask].variants.data(); }

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

    const Moments& moments(int value) const {
        static const Moments kNone;
        const int variant = variants_[index(value)];
        return variant == kNoVariant ? kNone : moments_[index(variant)];
    }

  private:
    static std::size_t index(int number) { return static_cast<std::size_t>(number); }

    void take(const Turn& turn, const float* images, int count) {
        const CompiledStep& step = compiled_.steps[index(turn.step)];
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
        for (const KeptPlace& place : kept_places_[index(turn.variant)]) {
            for (int n = 0; n < count; ++n) copy_out(step.value, n, place);
        }
    }

    float* raw(int value, int n) const {
        const PlaneSpec& plane = compiled_.raw[index(variants_[index(value)])];
        return plane.used ? reinterpret_cast<float*>(at(plane, n)) : nullptr;
    }
    HaloPlane halo_plane(const PlaneSpec& plane, int value, int n) const {
        if (!plane.used) return {};
        const Shape& shape = compiled_.value(value).shape;
        return {at(plane, n), blocks_of(shape), shape.height, shape.width, plane.halo};
    }
    HaloPlane relu(int value, int n) const {
        return halo_plane(compiled_.relu[index(variants_[index(value)])], value, n);
    }
    HaloPlane plain(int value, int n) const {
        return halo_plane(compiled_.plain[index(variants_[index(value)])], value, n);
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
            const Moments& moments = this->moments(linear.source);
            for (std::size_t c = 0; c < linear.scale.size(); ++c) {
                linear.scale[c] *= moments.scale[c];
                ready.bias[c] -= linear.scale[c] * moments.mean[c];
            }
        }
        return ready;
    }

    void sum(const CompiledStep& step, const Affine& affine, int n) {
        const Shape& shape = compiled_.value(step.value).shape;
        const std::vector<CodePlace>& places = code_places_[index(variants_[index(step.value)])];
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
        Moments& moments = moments_[index(variants_[index(value)])];
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
    const int* variants_ = nullptr;                    // of the mask in hand, per value
    std::vector<Moments> moments_;                     // per variant
    std::vector<std::vector<CodePlace>> code_places_;  // per variant
    std::vector<std::vector<KeptPlace>> kept_places_;  // per variant
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

// Codes of one site and the same variants are one, whoever asks for them.
void want(ImageGroup& group, const Compiled& compiled, int count, const std::vector<std::vector<int>>& wanted,
          std::vector<Output>& outputs) {
    std::map<std::pair<int, std::vector<int>>, std::shared_ptr<Codes>> made;
    for (std::size_t mask = 0; mask < wanted.size(); ++mask) {
        for (const int site : wanted[mask]) {
            std::shared_ptr<Codes>& codes = made[{site, compiled.variants(mask, site)}];
            if (!codes) {
                codes = std::make_shared<Codes>(static_cast<std::size_t>(count) *
                                                code_words(site_size(compiled, site)));
                group.want(mask, site, *codes);
            }
            outputs[mask].codes.push_back(codes);
        }
    }
}

void hand_out_moments(ImageGroup& group, const Compiled& compiled, std::vector<Output>& outputs) {
    for (std::size_t mask = 0; mask < outputs.size(); ++mask) {
        group.look(mask);
        for (std::size_t v = 0; v < compiled.program->values().size(); ++v) {
            const Value& value = compiled.value(static_cast<int>(v));
            if (!value.moments) continue;
            const Moments& moments = group.moments(static_cast<int>(v));
            const auto cut = [&](const std::vector<float>& all) {
                const auto size = static_cast<std::ptrdiff_t>(all.size());
                return std::vector<float>(all.begin(),
                                          all.begin() + std::min<std::ptrdiff_t>(value.shape.channels, size));
            };
            outputs[mask].means.push_back(cut(moments.mean));
            outputs[mask].variances.push_back(cut(moments.variance));
        }
    }
}

}  // namespace

std::size_t run_bytes(const Compiled& compiled, int images) {
    return compiled.image_bytes * static_cast<std::size_t>(images_together(compiled, images)) +
           compiled.weight_bytes;
}

std::vector<std::size_t> kept_sizes(const Compiled& compiled) {
    std::vector<std::size_t> sizes;
    for (const Kept& kept : compiled.kept) sizes.push_back(site_size(compiled, kept.site));
    return sizes;
}

const std::vector<std::vector<int>>& kept_of(const Compiled& compiled) { return compiled.kept_of; }

std::vector<Output> run(const Compiled& compiled, const float* images, int count,
                        const std::vector<std::vector<int>>& wanted, const std::vector<float*>& features,
                        const std::int64_t* labels) {
    const int size = images_together(compiled, count);
    const Shape& in = compiled.value(0).shape;
    const std::size_t image = static_cast<std::size_t>(in.channels) * in.height * in.width;
    const auto classes = static_cast<std::size_t>(compiled.head().classes);
    const std::size_t width = compiled.head().weights.size() / std::max<std::size_t>(classes, 1);
    std::vector<Output> outputs(compiled.masks.size());
    for (Output& output : outputs) {
        output.logits.resize(static_cast<std::size_t>(count) * classes);
        output.pooled.resize(static_cast<std::size_t>(count) * width);
    }
    ImageGroup group(compiled, size, features);
    want(group, compiled, count, wanted, outputs);
    for (int begin = 0; begin < count; begin += size) {
        const int here = std::min(size, count - begin);
        group.run(images + static_cast<std::size_t>(begin) * image, begin, here, [&](std::size_t mask) {
            for (int n = 0; n < here; ++n) {
                const auto at = static_cast<std::size_t>(begin + n);
                group.classify(n, outputs[mask].pooled.data() + at * width,
                               outputs[mask].logits.data() + at * classes);
            }
        });
    }
    hand_out_moments(group, compiled, outputs);
    if (labels == nullptr) return outputs;
    for (Output& output : outputs) {
        output.counted = counted(output.logits, labels, static_cast<std::size_t>(count), classes);
        output.logits = {};
    }
    return outputs;
}

}  // namespace znas::native
