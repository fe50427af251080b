// From a mask to steps: cut what is dead, merge what is linear, lay out the planes.
#include <algorithm>
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

class Compiler {
  public:
    Compiler(Compiled& compiled, const std::vector<float>& mask) : compiled_(compiled), mask_(mask) {}

    void compile() {
        outputs_ = compiled_.head().sources;
        for (const int site : compiled_.kept) keep(site);
        find_live();
        for (std::size_t v = 0; v < live_.size(); ++v) {
            if (live_[v]) compiled_.steps.push_back(step(static_cast<int>(v)));
        }
        find_last_readers();
        lay_out();
    }

  private:
    float coefficient(const Term& term) const {
        return term.slot == kNoSlot ? 1.0F : mask_.at(at(term.slot));
    }
    // The halo plane that a convolution of `source` reads.
    PlaneSpec& read_by_convolution(int source, bool rectified) {
        return (rectified ? compiled_.relu : compiled_.plain)[at(source)];
    }

    void keep(int site) {
        for (const int value : compiled_.site(site)) {
            if (compiled_.value(value).kind == Value::Kind::kImages) {
                throw std::invalid_argument("value " + std::to_string(value) + " has no plane to keep");
            }
            outputs_.push_back(value);
        }
    }

    // ---- which values are read, and in which form

    void find_live() {
        live_.assign(compiled_.raw.size(), false);
        for (const int value : outputs_) {
            live_[at(value)] = true;
            compiled_.raw[at(value)].used = true;
        }
        for (std::size_t v = live_.size(); v-- > 0;) {  // readers come after what they read
            const Value& value = compiled_.value(static_cast<int>(v));
            if (!live_[v]) continue;
            if (value.moments) compiled_.raw[v].used = true;
            for (const Term& term : value.terms) {
                if (term.kind != Term::Kind::kConstant && coefficient(term) != 0) read(value, term);
            }
        }
    }

    void read(const Value& reader, const Term& term) {
        live_[at(term.source)] = true;
        if (term.kind != Term::Kind::kProduct && term.kind != Term::Kind::kDepthwise) {
            compiled_.raw[at(term.source)].used = true;
            return;
        }
        PlaneSpec& plane = read_by_convolution(term.source, term.rectified);
        plane.used = true;
        // Enough zeros for the first tap, and for the last one of the last pixel.
        const Shape& in = compiled_.value(term.source).shape;
        const int first = term.shift - term.padding, last_tap = first + (term.kernel - 1) * term.dilation;
        plane.halo =
            std::max({plane.halo, -first, (reader.shape.height - 1) * term.stride + last_tap - in.height + 1,
                      (reader.shape.width - 1) * term.stride + last_tap - in.width + 1});
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
        for (std::size_t s = 0; s < compiled_.steps.size(); ++s) {
            const CompiledStep& step = compiled_.steps[s];
            each_plane(step.value, [&](PlaneSpec& plane, int) { plane.last = s; });
            for (const auto& linear : step.affine.linears) compiled_.raw[at(linear.source)].last = s;
            for (const auto& product : step.products) {
                read_by_convolution(product.source, product.rectified).last = s;
            }
            for (const auto& depthwise : step.depthwise) {
                read_by_convolution(depthwise.source, depthwise.rectified).last = s;
            }
            for (const auto& pool : step.pools) {
                for (const auto& linear : pool.linears) compiled_.raw[at(linear.source)].last = s;
            }
            const Value& value = compiled_.value(step.value);
            if (value.kind == Value::Kind::kMaxPool) compiled_.raw[at(value.terms[0].source)].last = s;
        }
        // The head reads when all steps have run; what is kept is copied right after its own.
        for (const int value : compiled_.head().sources)
            compiled_.raw[at(value)].last = compiled_.steps.size();
    }

    void lay_out() {
        Places places;
        for (std::size_t s = 0; s < compiled_.steps.size(); ++s) {
            const int made = compiled_.steps[s].value;
            const Shape& shape = compiled_.value(made).shape;
            each_plane(made, [&](PlaneSpec& plane, int element) {
                if (!plane.used) return;
                const std::size_t pixels =
                    at(shape.height + 2 * plane.halo) * at(shape.width + 2 * plane.halo);
                plane.bytes = pixels * at(blocks_of(shape)) * kBlock * at(element);
                plane.offset = places.take(plane.bytes);
            });
            for (int value = 0; value <= made; ++value) {
                each_plane(value, [&](const PlaneSpec& plane, int) {
                    if (plane.used && plane.last == s) places.give(plane.offset, plane.bytes);
                });
            }
        }
        compiled_.image_bytes = places.end();
    }

    // visit(plane, bytes of an element) for all forms of a value.
    template <class Visit>
    void each_plane(int value, const Visit& visit) {
        visit(compiled_.raw[at(value)], kRawElement);
        visit(compiled_.relu[at(value)], compiled_.layout->element_bytes);
        visit(compiled_.plain[at(value)], compiled_.layout->element_bytes);
    }

    Compiled& compiled_;
    const std::vector<float>& mask_;
    std::vector<int> outputs_;  // values that are read besides by steps
    std::vector<bool> live_;    // per value
};

}  // namespace

std::shared_ptr<const Compiled> Program::compile(const std::vector<float>& mask,
                                                 const std::vector<int>& kept) const {
    auto compiled = std::make_shared<Compiled>();
    compiled->program = this;
    compiled->layout = layout_;
    compiled->raw.resize(values_.size());
    compiled->relu.resize(values_.size());
    compiled->plain.resize(values_.size());
    compiled->kept = kept;
    Compiler(*compiled, mask).compile();
    return compiled;
}

}  // namespace znas::native
