// From a mask to steps: cut what is dead, merge what is linear, lay out the planes.
#include <algorithm>
#include <bit>
#include <map>
#include <stdexcept>
#include <utility>

#include "compiled.hpp"
#include "places.hpp"

namespace znas::native {

namespace {

constexpr int kRawElement = 4;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

void add_scaled(std::vector<float>& to, const std::vector<float>& values, float factor) {
    for (std::size_t i = 0; i < values.size(); ++i) to[i] += factor * values[i];
}

// Convolutions of one input under one stride, summed tap by tap.
struct Merged {
    std::map<std::array<int, 2>, std::vector<float>> taps;  // (dy, dx) -> [output block][in][kBlock]
};

// Whether winograd.inl computes it: a dense 3x3 window of a plane that squares of 2 x 2 pixels tile. The
// transform of three channels costs more than it saves.
bool is_transformable(const Layout& layout, const Merged& convolution, int stride, const Shape& in,
                      const Shape& out) {
    constexpr std::array<int, 2> kFirst{-1, -1}, kLast{1, 1};
    return layout.pack_transformed != nullptr && stride == 1 && in.channels > 3 && in.height == out.height &&
           in.width == out.width && out.height % 2 == 0 && out.width % 2 == 0 &&
           convolution.taps.size() == 9 && convolution.taps.begin()->first == kFirst &&
           convolution.taps.rbegin()->first == kLast;
}

// -> [position][output block][word]
std::vector<char> transformed_weights(const Layout& layout, const Merged& convolution, int in, int blocks,
                                      std::size_t block_bytes) {
    const std::size_t position_bytes = block_bytes * static_cast<std::size_t>(blocks);
    std::vector<char> weights(kPositions * position_bytes);
    for (int b = 0; b < blocks; ++b) {
        std::vector<const float*> taps;
        for (const auto& [place, tap] : convolution.taps) {
            taps.push_back(tap.data() + static_cast<std::ptrdiff_t>(b) * in * kBlock);
        }
        layout.pack_transformed(taps.data(), in, weights.data() + static_cast<std::size_t>(b) * block_bytes,
                                static_cast<std::ptrdiff_t>(position_bytes));
    }
    return weights;
}

CompiledLinear& linear_for(std::vector<CompiledLinear>& linears, int source, bool normalised, int blocks) {
    for (CompiledLinear& linear : linears) {
        if (linear.source == source && linear.normalised == normalised) return linear;
    }
    linears.push_back({source, normalised, std::vector<float>(static_cast<std::size_t>(blocks) * kBlock)});
    return linears.back();
}

// Numbers for what is equal, from 0 on.
class Numbers {
  public:
    // And whether it is new.
    std::pair<int, bool> of(std::vector<std::uint32_t> what) {
        const auto [place, fresh] = numbers_.emplace(std::move(what), static_cast<int>(numbers_.size()));
        return {place->second, fresh};
    }

  private:
    std::map<std::vector<std::uint32_t>, int> numbers_;
};

class Compiler {
  public:
    Compiler(Compiled& compiled, const Masks& masks, const std::vector<int>& kept)
        : compiled_(compiled), masks_(masks), wanted_(kept) {}

    // All but the steps: which variants there are, who makes them, and where they lie.
    void plan() {
        outputs_ = compiled_.head().sources;
        for (const int site : wanted_) read_kept(site);
        for (now_ = 0; now_ < masks_.size(); ++now_) {
            find_live();
            find_variants();
            keep();
        }
        find_steps();
        find_last_readers();
        lay_out();
    }

    void make_steps() {
        each_turn([this](const Turn& turn) {
            if (at(turn.step) == compiled_.steps.size()) compiled_.steps.push_back(step(turn.value));
        });
    }

  private:
    float coefficient(const Term& term) const {
        return term.slot == kNoSlot ? 1.0F : masks_[now_].at(at(term.slot));
    }
    PlaneSpec& raw(int value) { return compiled_.raw[at(compiled_.variant(now_, value))]; }
    // The halo plane that a convolution of `source` reads.
    PlaneSpec& read_by_convolution(int source, bool rectified) {
        return (rectified ? compiled_.relu : compiled_.plain)[at(compiled_.variant(now_, source))];
    }
    static bool convolves(const Term& term) {
        return term.kind == Term::Kind::kProduct || term.kind == Term::Kind::kDepthwise;
    }
    PlaneSpec& read(const Term& term) {
        return convolves(term) ? read_by_convolution(term.source, term.rectified) : raw(term.source);
    }

    // visit(term) for all terms of a value that the mask leaves.
    template <class Visit>
    void each_term(int value, const Visit& visit) const {
        for (const Term& term : compiled_.value(value).terms) {
            if (coefficient(term) != 0) visit(term);
        }
    }
    // Likewise for those that read something.
    template <class Visit>
    void each_read(int value, const Visit& visit) const {
        each_term(value, [&](const Term& term) {
            if (term.kind != Term::Kind::kConstant) visit(term);
        });
    }
    // visit(turn) for all turns, each under its mask.
    template <class Visit>
    void each_turn(const Visit& visit) {
        std::size_t turn = 0;
        for (now_ = 0; now_ < masks_.size(); ++now_) {
            for (; turn < compiled_.masks[now_].end; ++turn) visit(compiled_.turns[turn]);
        }
    }
    // A value with its terms' mask entries, and what `more` says of those that read something.
    template <class More>
    std::vector<std::uint32_t> described(int value, const More& more) const {
        std::vector<std::uint32_t> key{static_cast<std::uint32_t>(value)};
        std::uint32_t t = 0;
        for (const Term& term : compiled_.value(value).terms) {
            const float factor = coefficient(term);
            if (factor != 0) {
                key.push_back(t);
                key.push_back(std::bit_cast<std::uint32_t>(factor));
                if (term.kind != Term::Kind::kConstant) {
                    key.push_back(static_cast<std::uint32_t>(more(term)));
                }
            }
            ++t;
        }
        return key;
    }

    // ---- which values are read, by which masks together, and in which form

    void read_kept(int site) {
        for (const int value : compiled_.site(site)) {
            if (compiled_.value(value).kind == Value::Kind::kImages) {
                throw std::invalid_argument("value " + std::to_string(value) + " has no plane to keep");
            }
            outputs_.push_back(value);
        }
    }

    void find_live() {
        live_.assign(compiled_.program->values().size(), false);
        for (const int value : outputs_) live_[at(value)] = true;
        for (int v = static_cast<int>(live_.size()) - 1; v >= 0; --v) {  // readers come after what they read
            if (live_[at(v)]) each_read(v, [&](const Term& term) { live_[at(term.source)] = true; });
        }
    }

    void find_variants() {
        CompiledMask& mask = compiled_.masks.emplace_back();
        mask.variants.assign(live_.size(), kNoVariant);
        for (int v = 0; v < static_cast<int>(live_.size()); ++v) {
            if (!live_[at(v)]) continue;
            const auto [variant, fresh] =
                variants_.of(described(v, [&](const Term& term) { return mask.variants[at(term.source)]; }));
            mask.variants[at(v)] = variant;
            if (fresh) make(v, variant);
        }
        mask.end = compiled_.turns.size();
        for (const int value : outputs_) raw(value).used = true;
    }

    void make(int v, int variant) {
        const Value& value = compiled_.value(v);
        compiled_.turns.push_back({v, variant});
        for (auto* planes : {&compiled_.raw, &compiled_.relu, &compiled_.plain}) planes->emplace_back();
        compiled_.raw.back().used = value.moments;
        each_read(v, [&](const Term& term) {
            PlaneSpec& plane = read(term);
            plane.used = true;
            if (!convolves(term)) return;
            // Enough zeros for the first tap, and for the last one of the last pixel.
            const Shape& in = compiled_.value(term.source).shape;
            const int first = term.shift - term.padding, last_tap = first + (term.kernel - 1) * term.dilation;
            plane.halo = std::max({plane.halo, -first,
                                   (value.shape.height - 1) * term.stride + last_tap - in.height + 1,
                                   (value.shape.width - 1) * term.stride + last_tap - in.width + 1});
        });
    }

    // One step does for all variants of a value that differ in nothing but what they read.
    void find_steps() {
        Numbers steps;
        each_turn([&](Turn& turn) {
            const auto [step, fresh] = steps.of(described(turn.value, [&](const Term& term) {
                return convolves(term) ? read_by_convolution(term.source, term.rectified).halo : 0;
            }));
            turn.step = step;
            compiled_.work += work(turn.value);
            if (fresh) compiled_.weight_bytes += weight_bytes(turn.value);
        });
    }

    // Multiply-adds and written numbers of an image.
    double work(int v) const {
        const Value& value = compiled_.value(v);
        double per_number = 1;
        each_read(v, [&](const Term& term) {
            const bool dense = term.kind == Term::Kind::kProduct;
            per_number +=
                term.kernel * term.kernel * (dense ? compiled_.value(term.source).shape.channels : 1);
        });
        return per_number * value.shape.channels * value.shape.height * value.shape.width;
    }

    // Of its merged weights, at most: transformed ones have 16 numbers for 9.
    std::size_t weight_bytes(int v) const {
        std::size_t numbers = 0, t = 0;
        for (const Term& term : compiled_.value(v).terms) {
            if (coefficient(term) != 0) numbers += compiled_.packed(v, t).size() * (term.kernel == 3 ? 2 : 1);
            ++t;
        }
        return numbers * kRawElement;
    }

    void keep() {
        std::vector<int>& found = compiled_.kept_of.emplace_back();
        for (const int site : wanted_) {
            const std::vector<int> variants = compiled_.variants(now_, site);
            int k = 0;
            for (; k < static_cast<int>(compiled_.kept.size()); ++k) {
                const Kept& other = compiled_.kept[at(k)];
                if (other.site == site && compiled_.variants(other.mask, site) == variants) break;
            }
            if (k == static_cast<int>(compiled_.kept.size())) compiled_.kept.push_back({site, now_});
            found.push_back(k);
        }
    }

    // ---- steps

    CompiledStep step(int v) {
        if (compiled_.value(v).kind == Value::Kind::kSum) return sum(v);
        return {v, {}, {}, {}, {}};
    }

    CompiledStep sum(int v) {
        const Value& value = compiled_.value(v);
        const int blocks = blocks_of(value.shape);
        CompiledStep made{v, {}, {}, {}, {}};
        made.affine.bias.assign(at(blocks) * kBlock, 0.0F);
        std::map<std::array<int, 3>, Merged> merged;  // (source, rectified, stride)
        for (std::size_t t = 0; t < value.terms.size(); ++t) {
            const Term& term = value.terms[t];
            const float factor = coefficient(term);
            if (factor == 0) continue;
            switch (term.kind) {
                case Term::Kind::kConstant:
                    add_scaled(made.affine.bias, term.values, factor);
                    break;
                case Term::Kind::kLinear:
                    add_scaled(linear_for(made.affine.linears, term.source, term.normalised, blocks).scale,
                               term.values, factor);
                    break;
                case Term::Kind::kAveragePool:
                    add_scaled(
                        linear_for(pool_for(made.pools, term, blocks).linears, term.source, false, blocks)
                            .scale,
                        term.values, factor);
                    break;
                case Term::Kind::kProduct:
                    add_convolution(merged[{term.source, term.rectified, term.stride}], term,
                                    compiled_.packed(v, t), value.shape, factor);
                    break;
                case Term::Kind::kDepthwise:
                    made.depthwise.push_back({term.source, term.rectified, term.kernel, term.stride,
                                              term.shift - term.padding, term.dilation,
                                              std::vector<float>(compiled_.packed(v, t).size())});
                    add_scaled(made.depthwise.back().weights, compiled_.packed(v, t), factor);
                    break;
            }
        }
        for (const auto& [key, convolution] : merged) {
            const auto [source, rectified, stride] = key;
            made.products.push_back(product(source, rectified != 0, stride, convolution, value.shape));
        }
        reserve_scratch(made, value.shape);
        return made;
    }

    CompiledPool& pool_for(std::vector<CompiledPool>& pools, const Term& term, int blocks) const {
        const Shape& in = compiled_.value(term.source).shape;
        for (CompiledPool& pool : pools) {
            if (pool.kernel == term.kernel && pool.stride == term.stride && pool.padding == term.padding &&
                pool.height == in.height && pool.width == in.width) {
                return pool;
            }
        }
        pools.push_back({term.kernel, term.stride, term.padding, in.height, in.width, blocks, {}});
        return pools.back();
    }

    // packed: [output block][tap][in][kBlock]
    void add_convolution(Merged& into, const Term& term, const std::vector<float>& packed, const Shape& out,
                         float factor) const {
        const std::size_t run = at(compiled_.value(term.source).shape.channels) * kBlock;
        const std::size_t blocks = at(blocks_of(out)), taps = at(term.kernel) * at(term.kernel);
        const int first = term.shift - term.padding;
        for (int dy = 0; dy < term.kernel; ++dy) {
            for (int dx = 0; dx < term.kernel; ++dx) {
                auto& sum = into.taps[{first + dy * term.dilation, first + dx * term.dilation}];
                sum.resize(blocks * run);
                for (std::size_t b = 0; b < blocks; ++b) {
                    const float* from = packed.data() + (b * taps + at(dy * term.kernel + dx)) * run;
                    float* to = sum.data() + b * run;
                    for (std::size_t i = 0; i < run; ++i) to[i] += factor * from[i];
                }
            }
        }
    }

    CompiledProduct product(int source, bool rectified, int stride, const Merged& convolution,
                            const Shape& out) {
        const Layout& layout = *compiled_.layout;
        const Shape& in = compiled_.value(source).shape;
        CompiledProduct made;
        made.source = source;
        made.rectified = rectified;
        made.stride = stride;
        made.words = (in.channels + layout.word_channels - 1) / layout.word_channels;
        const std::size_t tap_bytes = at(made.words) * at(layout.word_bytes);
        made.transformed = is_transformable(layout, convolution, stride, in, out);
        if (made.transformed) {
            made.weights = transformed_weights(layout, convolution, in.channels, blocks_of(out), tap_bytes);
            return made;
        }
        made.taps = static_cast<int>(convolution.taps.size());
        made.weights.resize(at(blocks_of(out)) * at(made.taps) * tap_bytes);
        const int pitch = in.width + 2 * read_by_convolution(source, rectified).halo;
        std::size_t tap = 0;
        for (const auto& [place, weights] : convolution.taps) {
            made.offsets.push_back(place[0] * pitch + place[1]);
            for (std::size_t b = 0; b < at(blocks_of(out)); ++b) {
                layout.pack(weights.data() + b * at(in.channels) * kBlock, in.channels,
                            made.weights.data() + (b * at(made.taps) + tap) * tap_bytes);
            }
            ++tap;
        }
        return made;
    }

    // What the step needs beside its planes, while it runs.
    void reserve_scratch(const CompiledStep& made, const Shape& out) {
        int transformed_blocks = 0;
        for (const CompiledProduct& product : made.products) {
            if (product.transformed) transformed_blocks += blocks_of(compiled_.value(product.source).shape);
        }
        if (transformed_blocks > 0) {
            compiled_.transformed_floats =
                std::max(compiled_.transformed_floats,
                         transformed_floats(transformed_blocks, blocks_of(out), out.height, out.width));
        }
        const std::size_t pixel = at(blocks_of(out)) * kBlock;
        std::size_t planes = 0;
        for (const CompiledPool& pool : made.pools) {
            planes += at(pool.height * pool.width + out.height * out.width) * pixel;
        }
        if (!made.only_depthwise()) planes += made.depthwise.size() * at(out.height * out.width) * pixel;
        compiled_.scratch_floats = std::max(compiled_.scratch_floats, planes);
    }

    // ---- planes: a place is free again after its last reader

    void find_last_readers() {
        std::size_t s = 0;
        for (now_ = 0; now_ < masks_.size(); ++now_) {
            for (; s < compiled_.masks[now_].end; ++s) {
                const auto [v, variant, step] = compiled_.turns[s];
                each_plane(variant, [&](PlaneSpec& plane, int) { plane.last = s; });
                each_read(v, [&](const Term& term) { read(term).last = s; });
            }
            // The head reads when the mask's turns are over; what is kept is copied right after its own.
            for (const int value : compiled_.head().sources) raw(value).last = s - 1;
        }
    }

    void lay_out() {
        Places places;
        std::vector<std::vector<const PlaneSpec*>> read_last(compiled_.turns.size());
        for (std::size_t s = 0; s < compiled_.turns.size(); ++s) {
            const auto [value, variant, step] = compiled_.turns[s];
            const Shape& shape = compiled_.value(value).shape;
            each_plane(variant, [&](PlaneSpec& plane, int element) {
                if (!plane.used) return;
                const std::size_t pixels =
                    at(shape.height + 2 * plane.halo) * at(shape.width + 2 * plane.halo);
                plane.bytes = pixels * at(blocks_of(shape)) * kBlock * at(element);
                plane.offset = places.take(plane.bytes);
                read_last[plane.last].push_back(&plane);
            });
            for (const PlaneSpec* plane : read_last[s]) places.give(plane->offset, plane->bytes);
        }
        compiled_.image_bytes = places.end();
    }

    // visit(plane, bytes of an element) for all forms of a variant.
    template <class Visit>
    void each_plane(int variant, const Visit& visit) {
        visit(compiled_.raw[at(variant)], kRawElement);
        visit(compiled_.relu[at(variant)], compiled_.layout->element_bytes);
        visit(compiled_.plain[at(variant)], compiled_.layout->element_bytes);
    }

    Compiled& compiled_;
    const Masks& masks_;
    const std::vector<int>& wanted_;  // sites
    std::size_t now_ = 0;             // the mask in hand
    std::vector<int> outputs_;        // values that are read besides by steps
    std::vector<bool> live_;          // per value, under that mask
    Numbers variants_;
};

}  // namespace

Compiled plan(const Program& program, const Masks& masks, const std::vector<int>& kept) {
    Compiled planned(program);
    Compiler(planned, masks, kept).plan();
    return planned;
}

std::shared_ptr<const Compiled> Program::compile(const Masks& masks, const std::vector<int>& kept) const {
    auto compiled = std::make_shared<Compiled>(*this);
    Compiler compiler(*compiled, masks, kept);
    compiler.plan();
    compiler.make_steps();
    return compiled;
}

}  // namespace znas::native
