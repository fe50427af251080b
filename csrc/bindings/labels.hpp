// Labels as Python hands them over.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "tensor_view.hpp"

namespace znas::bindings {

// The labels of `images` images: ValueError unless they are int64 [images], each in [0, classes). of: the
// argument that the images are counted in.
inline const std::int64_t* checked_labels(const TensorView& labels, std::size_t images, std::size_t classes,
                                          const std::string& of) {
    labels.require_dtype({kInt64});
    labels.require_axes({"images"});
    if (labels.shape()[0] != images) {
        labels.refuse("must have shape [" + std::to_string(images) + "], one per image of `" + of +
                      "`, but got " + show(labels.shape()));
    }
    const auto* label = labels.data<const std::int64_t>();
    const auto* bad = std::find_if(label, label + images, [&](std::int64_t c) {
        return c < 0 || static_cast<std::size_t>(c) >= classes;
    });
    if (bad != label + images) {
        labels.refuse("must lie in [0, " + std::to_string(classes) + ") but got " + std::to_string(*bad));
    }
    return label;
}

}  // namespace znas::bindings
