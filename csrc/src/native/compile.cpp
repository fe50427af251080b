// From a mask to steps: cut what is dead, merge what is linear, lay out the planes.
#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include "compiled.hpp"

namespace znas::native {

const Layout& layout_of(Precision precision, Isa isa) {
    if (!available(isa)) {
        throw std::invalid_argument("this machine cannot run the " + std::string(name(isa)) + " kernels");
    }
    if (precision == Precision::kFloat16) throw std::invalid_argument("no processor's steps have float16");
    const bool half = precision == Precision::kBFloat16;
#if ZNAS_X86
    if (isa == Isa::kAvx512) {
        if (half && __builtin_cpu_supports("avx512bf16")) return kAvx512Bf16BFloat16;
        return half ? kAvx512BFloat16 : kAvx512Float32;
    }
    if (isa == Isa::kAvx2) return half ? kAvx2BFloat16 : kAvx2Float32;
#endif
    return half ? kReferenceBFloat16 : kReferenceFloat32;
}

namespace {

constexpr int kRawElement = 4;

// [out, in, k, k] -> [output block][tap][in][kBlock], zero beyond the last output channel.
std::vector<float> reorder(const Term& term, int out_channels, int in_channels) {
    const int taps = term.kernel * term.kernel, blocks = (out_channels + kBlock - 1) / kBlock;
    std::vector<float> packed(static_cast<std::size_t>(blocks) * taps * in_channels * kBlock);
    for (int o = 0; o < out_channels; ++o) {
        for (int i = 0; i < in_channels; ++i) {
            for (int t = 0; t < taps; ++t) {
                const std::size_t at = ((static_cast<std::size_t>(o / kBlock) * taps + t) * in_channels + i);
                packed[at * kBlock + o % kBlock] =
                    term.values[(static_cast<std::size_t>(o) * in_channels + i) * taps + t];
            }
        }
    }
    return packed;
}

std::vector<float> reorder_depthwise(const Term& term, int channels) {
    const int taps = term.kernel * term.kernel, blocks = (channels + kBlock - 1) / kBlock;
    std::vector<float> packed(static_cast<std::size_t>(blocks) * taps * kBlock);
    for (int c = 0; c < channels; ++c) {
        for (int t = 0; t < taps; ++t) {
            packed[(static_cast<std::size_t>(c / kBlock) * taps + t) * kBlock + c % kBlock] =
                term.values[static_cast<std::size_t>(c) * taps + t];
        }
    }
    return packed;
}

void add_scaled(std::vector<float>& to, const std::vector<float>& values, float factor) {
    for (std::size_t i = 0; i < values.size(); ++i) to[i] += factor * values[i];
}

// Convolutions of one input under one stride, summed tap by tap.
struct Merged {
    std::map<std::array<int, 2>, std::vector<float>> taps;  // (dy, dx) -> [output block][in][kBlock]
};

// Whether winograd.inl computes it: a dense 3x3 window of a plane that squares of 2 x 2 pixels tile. The
// transform of three channels costs more than it saves.
bool transforms(const Layout& layout, const Merged& convolution, int stride, const Shape& in,
                const Shape& out) {
    constexpr std::array<int, 2> kFirst{-1, -1}, kLast{1, 1};
    return layout.pack_transformed != nullptr && stride == 1 && in.channels > 3 && in.height == out.height &&
           in.width == out.width && out.height % 2 == 0 && out.width % 2 == 0 &&
           convolution.taps.size() == 9 && convolution.taps.begin()->first == kFirst &&
           convolution.taps.rbegin()->first == kLast;
}

// -> [position][output block][word]
std::vector<char> transformed(const Layout& layout, const Merged& convolution, int in, int blocks,
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

// Which bytes of the arena are free: the smallest gap that is large enough is taken first.
class Places {
  public:
    std::size_t take(std::size_t bytes) {
        bytes = aligned(bytes);
        auto best = gaps_.end();
        for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
            if (gap->second >= bytes && (best == gaps_.end() || gap->second < best->second)) best = gap;
        }
        if (best == gaps_.end()) return std::exchange(end_, end_ + bytes);
        const auto [offset, size] = *best;
        gaps_.erase(best);
        if (size > bytes) gaps_[offset + bytes] = size - bytes;
        return offset;
    }
    void give(std::size_t offset, std::size_t bytes) {
        auto gap = gaps_.emplace(offset, aligned(bytes)).first;
        const auto next = std::next(gap);
        if (next != gaps_.end() && gap->first + gap->second == next->first) {
            gap->second += next->second;
            gaps_.erase(next);
        }
        if (gap == gaps_.begin()) return;
        const auto before = std::prev(gap);
        if (before->first + before->second == gap->first) {
            before->second += gap->second;
            gaps_.erase(gap);
        }
    }
    std::size_t end() const { return end_; }

  private:
    static std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

    std::map<std::size_t, std::size_t> gaps_;  // offset -> bytes; no two touch
    std::size_t end_ = 0;
};

}  // namespace

Program::Program(std::vector<Value> values, Head head, std::vector<std::vector<int>> sites,
                 const Layout& layout)
    : values_(std::move(values)), head_(std::move(head)), sites_(std::move(sites)), layout_(&layout) {
    batch_ = std::any_of(values_.begin(), values_.end(), [](const Value& value) { return value.moments; });
    for (std::size_t v = 0; v < values_.size(); ++v) {
        Value& value = values_[v];
        auto& packed = packed_.emplace_back();
        for (Term& term : value.terms) {
            const bool constant = term.kind == Term::Kind::kConstant;
            if (!constant && (term.source < 0 || term.source >= static_cast<int>(v))) {
                throw std::invalid_argument("a term of value " + std::to_string(v) + " reads value " +
                                            std::to_string(term.source));
            }
            const int in = constant ? 0 : values_[static_cast<std::size_t>(term.source)].shape.channels;
            const std::size_t taps = static_cast<std::size_t>(term.kernel) * term.kernel;
            const auto out = static_cast<std::size_t>(value.shape.channels);
            const bool product = value.kind == Value::Kind::kSum && term.kind == Term::Kind::kProduct;
            const std::size_t expected = product                                 ? out * in * taps
                                         : value.kind == Value::Kind::kDepthwise ? out * taps
                                         : value.kind == Value::Kind::kMaxPool   ? 0
                                                                                 : out;
            const bool geometry = (term.stride == 1 || term.stride == 2) &&
                                  (value.kind != Value::Kind::kDepthwise ||
                                   ((term.kernel == 3 || term.kernel == 5) && term.dilation <= 2));
            if (term.values.size() != expected || !geometry) {
                throw std::invalid_argument("a term of value " + std::to_string(v) + " has " +
                                            std::to_string(term.values.size()) + " numbers, not " +
                                            std::to_string(expected) + ", or an unknown geometry");
            }
            packed.push_back(product ? reorder(term, value.shape.channels, in)
                             : value.kind == Value::Kind::kDepthwise
                                 ? reorder_depthwise(term, value.shape.channels)
                                 : std::vector<float>{});
            if (!packed.back().empty()) term.values = {};  // one copy of the weights is enough
        }
    }
}

Program::~Program() = default;

std::shared_ptr<const Compiled> Program::compile(const std::vector<float>& mask,
                                                 const std::vector<int>& kept) const {
    const auto coefficient = [&](const Term& term) {
        return term.slot == kNoSlot ? 1.0F : mask.at(static_cast<std::size_t>(term.slot));
    };
    const std::size_t count = values_.size();
    auto compiled = std::make_shared<Compiled>();
    compiled->program = this;
    compiled->layout = layout_;
    compiled->raw.resize(count);
    compiled->relu.resize(count);
    compiled->plain.resize(count);

    compiled->kept = kept;

    // Values that are read when all steps have run.
    std::vector<int> outputs = head_.sources;
    for (const int site : kept) {
        for (const int value : sites_.at(static_cast<std::size_t>(site))) {
            const Value::Kind kind = values_[static_cast<std::size_t>(value)].kind;
            if (kind != Value::Kind::kSum && kind != Value::Kind::kMaxPool) {
                throw std::invalid_argument("value " + std::to_string(value) + " has no plane to keep");
            }
            outputs.push_back(value);
        }
    }

    // Which values are read, and in which form; readers come after what they read.
    std::vector<bool> live(count, false);
    for (const int source : outputs) {
        live[static_cast<std::size_t>(source)] = true;
        compiled->raw[static_cast<std::size_t>(source)].used = true;
    }
    for (std::size_t v = count; v-- > 0;) {
        const Value& value = values_[v];
        if (!live[v]) continue;
        if (value.moments) compiled->raw[v].used = true;
        for (const Term& term : value.terms) {
            if (term.kind == Term::Kind::kConstant || coefficient(term) == 0) continue;
            const auto source = static_cast<std::size_t>(term.source);
            live[source] = true;
            const bool product = value.kind == Value::Kind::kDepthwise ||
                                 (value.kind == Value::Kind::kSum && term.kind == Term::Kind::kProduct);
            if (!product) {
                compiled->raw[source].used = true;
            } else {
                PlaneSpec& plane = (term.rectified ? compiled->relu : compiled->plain)[source];
                plane.used = true;
                // Enough zeros for the first tap, and for the last one of the last pixel.
                const int last = (value.shape.height - 1) * term.stride - term.padding + term.shift +
                                 (term.kernel - 1) * term.dilation;
                const int last_column = (value.shape.width - 1) * term.stride - term.padding + term.shift +
                                        (term.kernel - 1) * term.dilation;
                const Shape& in = values_[source].shape;
                plane.halo = std::max({plane.halo, term.padding - term.shift, last - in.height + 1,
                                       last_column - in.width + 1});
            }
        }
    }

    for (std::size_t v = 0; v < count; ++v) {
        const Value& value = values_[v];
        if (!live[v]) continue;
        const int blocks = blocks_of(value.shape);
        CompiledStep step{static_cast<int>(v), {}, {}, {}, {}};
        if (value.kind == Value::Kind::kDepthwise) step.depthwise = packed_[v][0];
        if (value.kind == Value::Kind::kSum) {
            step.affine.bias.assign(static_cast<std::size_t>(blocks) * kBlock, 0.0F);
            std::map<std::array<int, 3>, Merged> merged;  // (source, rectified, stride)
            for (std::size_t t = 0; t < value.terms.size(); ++t) {
                const Term& term = value.terms[t];
                const float factor = coefficient(term);
                if (factor == 0) continue;
                if (term.kind == Term::Kind::kConstant) {
                    add_scaled(step.affine.bias, term.values, factor);
                } else if (term.kind == Term::Kind::kLinear) {
                    add_scaled(linear_for(step.affine.linears, term.source, term.normalised, blocks).scale,
                               term.values, factor);
                } else if (term.kind == Term::Kind::kAveragePool) {
                    const Shape& in = values_[static_cast<std::size_t>(term.source)].shape;
                    auto pool =
                        std::find_if(step.pools.begin(), step.pools.end(), [&](const CompiledPool& p) {
                            return p.kernel == term.kernel && p.stride == term.stride &&
                                   p.padding == term.padding && p.height == in.height && p.width == in.width;
                        });
                    if (pool == step.pools.end()) {
                        step.pools.push_back(
                            {term.kernel, term.stride, term.padding, in.height, in.width, blocks, {}});
                        pool = step.pools.end() - 1;
                    }
                    add_scaled(linear_for(pool->linears, term.source, false, blocks).scale, term.values,
                               factor);
                } else {
                    const int in = values_[static_cast<std::size_t>(term.source)].shape.channels;
                    const std::size_t run = static_cast<std::size_t>(in) * kBlock;
                    const int taps = term.kernel * term.kernel;
                    Merged& into = merged[{term.source, term.rectified, term.stride}];
                    for (int tap = 0; tap < taps; ++tap) {
                        const int origin = term.shift - term.padding;
                        auto& sum = into.taps[{origin + tap / term.kernel * term.dilation,
                                               origin + tap % term.kernel * term.dilation}];
                        sum.resize(static_cast<std::size_t>(blocks) * run);
                        for (int b = 0; b < blocks; ++b) {
                            const float* from =
                                packed_[v][t].data() + (static_cast<std::size_t>(b) * taps + tap) * run;
                            float* to = sum.data() + static_cast<std::size_t>(b) * run;
                            for (std::size_t i = 0; i < run; ++i) to[i] += factor * from[i];
                        }
                    }
                }
            }
            for (const auto& [key, convolution] : merged) {
                const int in = values_[static_cast<std::size_t>(key[0])].shape.channels;
                const int word_channels = layout_->word_channels;
                CompiledProduct product{key[0],
                                        key[1] != 0,
                                        key[2],
                                        (in + word_channels - 1) / word_channels,
                                        static_cast<int>(convolution.taps.size()),
                                        {},
                                        {},
                                        {}};
                const std::size_t tap_bytes = static_cast<std::size_t>(product.words) * layout_->word_bytes;
                if (transforms(*layout_, convolution, product.stride,
                               values_[static_cast<std::size_t>(key[0])].shape, value.shape)) {
                    product.transformed = true;
                    product.weights = transformed(*layout_, convolution, in, blocks, tap_bytes);
                    step.products.push_back(std::move(product));
                    continue;
                }
                product.weights.resize(static_cast<std::size_t>(blocks) * product.taps * tap_bytes);
                const PlaneSpec& plane =
                    (product.rectified ? compiled->relu
                                       : compiled->plain)[static_cast<std::size_t>(product.source)];
                const int pitch = values_[static_cast<std::size_t>(key[0])].shape.width + 2 * plane.halo;
                std::size_t tap = 0;
                for (const auto& [place, weights] : convolution.taps) {
                    product.places.push_back(place);
                    product.offsets.push_back(place[0] * pitch + place[1]);
                    for (int b = 0; b < blocks; ++b) {
                        layout_->pack(weights.data() + static_cast<std::size_t>(b) * in * kBlock, in,
                                      product.weights.data() +
                                          (static_cast<std::size_t>(b) * product.taps + tap) * tap_bytes);
                    }
                    ++tap;
                }
                step.products.push_back(std::move(product));
            }
            int transformed_blocks = 0;
            for (const CompiledProduct& product : step.products) {
                if (product.transformed)
                    transformed_blocks += blocks_of(values_[static_cast<std::size_t>(product.source)].shape);
            }
            if (transformed_blocks > 0) {
                compiled->transformed_floats = std::max(
                    compiled->transformed_floats,
                    transformed_floats(transformed_blocks, blocks, value.shape.height, value.shape.width));
            }
            for (const CompiledPool& pool : step.pools) {
                const auto area = static_cast<std::size_t>(pool.height * pool.width +
                                                           value.shape.height * value.shape.width);
                compiled->scratch_floats =
                    std::max(compiled->scratch_floats, area * static_cast<std::size_t>(blocks) * kBlock * 2);
            }
        }
        compiled->steps.push_back(std::move(step));
    }

    // A plane's place is free again after its last reader.
    for (std::size_t s = 0; s < compiled->steps.size(); ++s) {
        const CompiledStep& step = compiled->steps[s];
        const auto read = [&](std::vector<PlaneSpec>& planes, int value) {
            planes[static_cast<std::size_t>(value)].last = s;
        };
        for (auto* planes : {&compiled->raw, &compiled->relu, &compiled->plain}) read(*planes, step.value);
        for (const auto& linear : step.affine.linears) read(compiled->raw, linear.source);
        for (const auto& product : step.products) {
            read(product.rectified ? compiled->relu : compiled->plain, product.source);
        }
        for (const auto& pool : step.pools) {
            for (const auto& linear : pool.linears) read(compiled->raw, linear.source);
        }
        const Value& value = values_[static_cast<std::size_t>(step.value)];
        if (value.kind == Value::Kind::kMaxPool) read(compiled->raw, value.terms[0].source);
        if (value.kind == Value::Kind::kDepthwise) {
            read(value.terms[0].rectified ? compiled->relu : compiled->plain, value.terms[0].source);
        }
    }
    for (const int source : outputs) {
        compiled->raw[static_cast<std::size_t>(source)].last = compiled->steps.size();
    }
    Places places;
    const int element = layout_->element_bytes;
    const auto each = [&](std::size_t v, const auto& visit) {
        visit(compiled->raw[v], kRawElement);
        visit(compiled->relu[v], element);
        visit(compiled->plain[v], element);
    };
    for (std::size_t s = 0; s < compiled->steps.size(); ++s) {
        const auto v = static_cast<std::size_t>(compiled->steps[s].value);
        each(v, [&](PlaneSpec& plane, int bytes) {
            if (!plane.used) return;
            const Shape& shape = values_[v].shape;
            const std::size_t pixels =
                static_cast<std::size_t>(shape.height + 2 * plane.halo) * (shape.width + 2 * plane.halo);
            plane.bytes = pixels * static_cast<std::size_t>(blocks_of(shape)) * kBlock * bytes;
            plane.offset = places.take(plane.bytes);
        });
        for (std::size_t u = 0; u <= v; ++u) {
            each(u, [&](const PlaneSpec& plane, int) {
                if (plane.used && plane.last == s) places.give(plane.offset, plane.bytes);
            });
        }
    }
    compiled->image_bytes = places.end();
    return compiled;
}

}  // namespace znas::native
