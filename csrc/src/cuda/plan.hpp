// A program laid out for a GPU: steps that serve all masks, what they read, and how a mask's weights are
// merged.
//
// Activations are planes [blocks of 16 channels][height][width][16] of the precision's elements, without a
// border; channels beyond the last are zero. A plane lies in the memory of all (mask, image) pairs, or of all
// images where it is the same under every mask.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "znas/native/program.hpp"

namespace znas::cuda {

using Offset = std::uint64_t;

using native::kBlock;
constexpr int kFours = kBlock / 4;
constexpr int kWord = kBlock * kBlock;  // weights of a block of inputs and a block of outputs
constexpr int kCodeEntries = 64;        // codes of 16 units that are compared together
constexpr int kNone = -1;
constexpr Offset kNowhere = ~Offset{0};

// Memory of its own per mask and image, per image, or the images themselves.
enum class Where : std::int32_t { kOwn, kShared, kImages };

// Of one (mask, image) or image, the index-th of `count`: at offset * count + bytes * index.
struct Plane {
    Offset offset = 0, bytes = 0;
    int blocks = 0, height = 0, width = 0;
    Where where = Where::kOwn;
};

struct Tap {
    std::int32_t dy, dx;
};

// What a sum adds. Flags say per mask whether it, or a part of it, is left; scales are per channel.
struct Operand {
    enum class Kind : std::int32_t {
        kTaps,    // a convolution, tap by tap
        kSquare,  // a convolution of stride 1 with all nine neighbours, the source's average and itself; not
                  // beside a kSeparable
        kSeparable,  // a depthwise convolution and the 1x1 convolution of it
        kDepthwise,  // not beside a kSeparable
        kMaxPool,
        kAveragePool,  // padding is not counted
        kLinear,
    };
    Kind kind = Kind::kTaps;
    Plane plane;
    std::int32_t rectified = 0;  // reads max(plane, 0)
    // Row y of the output reads rows y * stride + first + i * dilation, i < kernel; columns likewise.
    int kernel = 1, stride = 1, first = 0, dilation = 1;
    int taps = 1;            // of a product
    Offset places = 0;       // Tap [taps]; kTaps
    Offset weights = 0;      // of a product: [output block][tap][input block], words of kWord merged weights
    Offset depthwise = 0;    // of a kSeparable: [input block][tap][16] of Plan::filters
    int filters = kNone;     // of a kDepthwise: [tap][channels], in floats from the mask's vectors
    int flag = kNone;        // of the operand; of the convolution of a kSquare
    int pool_flag = kNone;   // of a kSquare's average; kNone: it has none
    int pool_scale = kNone;  // in floats from the mask's vectors; also that of kMaxPool and kAveragePool
    int flag_linear = kNone;
    int linear_scale = kNone;  // also that of kLinear
};

// A value that a step reads under masks in which the slot is not zero (native::kNoSlot: under all).
struct Read {
    int slot, source;
};

struct Step {
    int blocks = 0, height = 0, width = 0, channels = 0;
    int first_operand = 0, operands = 0;
    int first_read = 0, reads = 0;
    int flag = 0;  // whether somebody reads it
    int bias = 0;  // in floats from the mask's vectors
    int value = 0;
    Plane out;
    int stored = 0;           // whether the plane is read
    Offset codes = kNowhere;  // in entries from the first of an image
    // Of a kept value: the site's first float of all images, per image; floats of an image; the value's own.
    Offset feature = kNowhere, feature_image = 0, feature_place = 0;
};

// Steps that do not read one another, of one geometry: one launch.
struct Wave {
    int first = 0, count = 0;
    int blocks = 0, height = 0, width = 0;
    bool shared = false;
    bool fused = false;  // some of them have a kSeparable
    int together = 1;    // blocks of output channels of one warp
};

// ---- what depends on the mask

// `count` merged elements from `out` on: sum over terms of mask[slot] * base[from + i]. Both know the value
// that they are read or written in units of (kNone: units of 1): see Pass::exponents.
struct MergeChunk {
    Offset out;
    int count, first_term, terms, value;
};
struct MergeTerm {
    Offset from;
    int slot, source;
};
struct Merge {
    Offset size = 0;  // elements per mask
    std::vector<MergeChunk> chunks;
    std::vector<MergeTerm> terms;
};

// A flag is set where one of these slots is not zero.
struct FlagRule {
    int flag;
    std::vector<int> slots;
};

// A normalised linear operand: its scale and the step's bias depend on the moments of what it reads.
struct Normalised {
    int source;  // value
    int scale, bias, channels;
    Offset moments;  // of the source
};

struct Moments {
    int value;
    Plane plane;
    Offset out;  // in floats from the first of a mask: mean, variance, 1 / sqrt(variance + epsilon)
    int wave;    // after which it is measured
    int flag;    // of the step; where nobody reads the value, its moments are those of zeros
};

struct HeadSource {
    Plane plane;
    int channels;
};

struct Plan {
    std::shared_ptr<const native::Program> program;
    std::vector<Operand> operands;
    std::vector<Read> reads;
    std::vector<Step> steps;
    std::vector<int> values;  // of the steps
    std::vector<Wave> waves;
    std::vector<Tap> places;
    std::vector<float> base;     // all weights that are merged, as merged ones lie
    std::vector<float> filters;  // the others, which are the same for all masks
    Merge weights, vectors;
    int flags = 0;
    std::vector<FlagRule> rules;
    std::vector<std::vector<Normalised>> normalised;  // per wave, before it
    std::vector<Moments> moments;
    Offset moment_floats = 0;
    Offset own_bytes = 0, shared_bytes = 0;  // of all planes, per unit and per image
    std::vector<HeadSource> head;
    int features = 0;  // channels that the classifier reads
    std::vector<int> kept;
    std::vector<Offset> kept_sizes;   // floats of an image, per kept site
    Offset kept_floats = 0;           // of them all
    std::vector<int> coded;           // values with codes
    std::vector<Offset> code_places;  // of `coded`, in entries of 16 units
    Offset code_entries = 0;          // per image

    // Per flag whether the mask leaves it; of the values likewise whether somebody reads them.
    std::vector<std::uint8_t> flags_under(const float* mask) const;
    bool shared(int value) const { return shared_[static_cast<std::size_t>(value)]; }
    std::vector<bool> shared_;
    std::vector<int> outputs_;  // values that are read when all steps have run
    std::vector<int> step_of_;  // per value, kNone where it has none
};

// kept: sites whose values a pass hands out. Throws std::invalid_argument for what no kernel computes.
Plan plan(std::shared_ptr<const native::Program> program, const std::vector<int>& kept);

}  // namespace znas::cuda
