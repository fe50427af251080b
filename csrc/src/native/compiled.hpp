// What masks leave of a program: steps with merged weights and the planes they read and write.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "step_kernels.hpp"
#include "znas/native/program.hpp"

namespace znas::native {

// Where a plane lies in the arena of images that go together; bytes are per image.
struct PlaneSpec {
    std::size_t offset = 0, bytes = 0;
    int halo = 0;
    bool used = false;
    std::size_t last = 0;  // the step that reads it last
};

struct CompiledLinear {
    int source;
    bool normalised;
    std::vector<float> scale;  // [blocks * kBlock]
};

struct CompiledProduct {
    int source = 0;
    bool rectified = false;
    int stride = 1, words = 0, taps = 0;
    std::vector<std::int32_t> offsets;  // per tap, in pixels of the input plane
    std::vector<char> weights;
    bool transformed = false;  // weights are those of a TransformedProduct, taps unused
};

struct CompiledPool {
    int kernel, stride, padding, height, width, blocks;  // of the input
    std::vector<CompiledLinear> linears;
};

struct CompiledDepthwise {
    int source;
    bool rectified;
    int kernel, stride, first, dilation;  // row y reads rows y * stride + first + i * dilation, i < kernel
    std::vector<float> weights;           // [block][kernel * kernel][kBlock]
};

// What a sum adds per channel.
struct Affine {
    std::vector<float> bias;
    std::vector<CompiledLinear> linears;
};

struct CompiledStep {
    int value;
    Affine affine;
    std::vector<CompiledProduct> products;
    std::vector<CompiledPool> pools;
    std::vector<CompiledDepthwise> depthwise;

    // One depthwise convolution and a bias: it is written where the sum is wanted. Beside other terms its
    // result is one more plane that the sum adds.
    bool only_depthwise() const {
        return depthwise.size() == 1 && affine.linears.empty() && products.empty() && pools.empty();
    }
};

// A variant is a value under all masks that agree on what it depends on: it is computed once, by the first of
// them.
inline constexpr int kNoVariant = -1;

struct Turn {
    int value, variant;  // that it makes
    int step = 0;        // among the compiled
};

struct CompiledMask {
    std::vector<int> variants;  // per value, kNoVariant where nothing reads it
    std::size_t end = 0;        // of its turns, which begin where those of the mask before it end
};

// A kept site, of whose values masks may have the same variants: `mask` is the first that does.
struct Kept {
    int site;
    std::size_t mask;
};

class Compiled {
  public:
    explicit Compiled(const Program& made_from) : program(&made_from), layout(&made_from.layout()) {}

    const Program* program;
    const Layout* layout;
    std::vector<CompiledStep> steps;  // those of one value and the same mask entries are one
    std::vector<Turn> turns;
    std::vector<CompiledMask> masks;
    std::vector<PlaneSpec> raw, relu, plain;  // per variant
    std::vector<Kept> kept;                   // sites whose raw planes are handed out
    std::vector<std::vector<int>> kept_of;    // per mask and site that was asked for, which of `kept`
    std::size_t image_bytes = 0;              // of all planes, per image
    std::size_t weight_bytes = 0;             // of all steps, at most
    double work = 0;                          // of all turns, per image: multiply-adds, about
    std::size_t scratch_floats = 0;           // for pools and depthwise convolutions that a sum adds
    std::size_t transformed_floats = 0;       // for transformed products

    int variant(std::size_t mask, int value) const {
        return masks[mask].variants[static_cast<std::size_t>(value)];
    }
    // Of a site's values under a mask.
    std::vector<int> variants(std::size_t mask, int of_site) const {
        std::vector<int> found;
        for (const int value : site(of_site)) found.push_back(variant(mask, value));
        return found;
    }
    const Value& value(int i) const { return program->values()[static_cast<std::size_t>(i)]; }
    const Head& head() const { return program->head(); }
    const std::vector<int>& site(int i) const { return program->sites().at(static_cast<std::size_t>(i)); }
    bool batch() const { return program->batch(); }
    // The weights of a term in step order.
    const std::vector<float>& packed(int value, std::size_t term) const {
        return program->packed(value, term);
    }
};

// What is compiled, but for the steps.
Compiled plan(const Program& program, const Masks& masks, const std::vector<int>& kept);

// Images that go through the steps together: those whose planes stay in cache, since of a step's weights,
// which are read once for all of them, late layers have more than of planes; where some value needs moments,
// all.
inline int images_together(const Compiled& compiled, int images) {
    constexpr std::size_t kCache = std::size_t{8} << 20, kMost = 8;
    if (compiled.batch()) return images;
    const std::size_t fit = kCache / std::max<std::size_t>(compiled.image_bytes, 1);
    return std::min(images, static_cast<int>(std::clamp(fit, std::size_t{1}, kMost)));
}

inline int blocks_of(const Shape& shape) { return (shape.channels + kBlock - 1) / kBlock; }

}  // namespace znas::native
