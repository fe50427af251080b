// A program: which steps run it, and its weights in the order in which they read them.
#include <algorithm>
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
            const bool product = term.kind == Term::Kind::kProduct;
            const bool depthwise = term.kind == Term::Kind::kDepthwise;
            const std::size_t expected = value.kind == Value::Kind::kMaxPool ? 0
                                         : product                           ? out * in * taps
                                         : depthwise                         ? out * taps
                                                                             : out;
            const bool geometry =
                term.stride >= 1 &&
                (!depthwise || ((term.kernel == 3 || term.kernel == 5 || term.kernel == 7) &&
                                term.stride <= 2 && term.dilation <= 2 && in == value.shape.channels));
            if (term.values.size() != expected || !geometry) {
                throw std::invalid_argument("a term of value " + std::to_string(v) + " has " +
                                            std::to_string(term.values.size()) + " numbers, not " +
                                            std::to_string(expected) + ", or an unknown geometry");
            }
            packed.push_back(product     ? reorder(term, value.shape.channels, in)
                             : depthwise ? reorder_depthwise(term, value.shape.channels)
                                         : std::vector<float>{});
            if (!packed.back().empty()) term.values = {};  // one copy of the weights is enough
        }
    }
}

Program::~Program() = default;

}  // namespace znas::native
