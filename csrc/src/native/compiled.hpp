// What a mask leaves of a program: steps with merged weights and the planes they read and write.
#pragma once

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

class Compiled {
  public:
    const Program* program;
    const Layout* layout;
    std::vector<CompiledStep> steps;
    std::vector<PlaneSpec> raw, relu, plain;  // per value
    std::vector<int> kept;                    // sites whose raw planes are handed out
    std::size_t image_bytes = 0;              // of all planes, per image
    std::size_t scratch_floats = 0;           // for pools and depthwise convolutions that a sum adds
    std::size_t transformed_floats = 0;       // for transformed products

    const Value& value(int i) const { return program->values()[static_cast<std::size_t>(i)]; }
    const Head& head() const { return program->head(); }
    const std::vector<int>& site(int i) const { return program->sites().at(static_cast<std::size_t>(i)); }
    bool batch() const { return program->batch(); }
    // The weights of a term in step order.
    const std::vector<float>& packed(int value, std::size_t term) const {
        return program->packed(value, term);
    }
};

inline int blocks_of(const Shape& shape) { return (shape.channels + kBlock - 1) / kBlock; }

}  // namespace znas::native
