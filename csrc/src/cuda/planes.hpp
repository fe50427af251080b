// Where kernels find a plane.
#pragma once

#include "gpu.hpp"
#include "pass.hpp"

namespace znas::cuda {

// The first pixel of a plane: of this image, under this mask where they have one each.
template <class P>
__device__ const typename P::Four* plane_of(const Pass& pass, const Plane& plane, int mask, int image) {
    const char* data = pass.images;
    Offset count = static_cast<Offset>(pass.count), index = static_cast<Offset>(image);
    if (plane.where == Where::kShared) data = pass.shared;
    if (plane.where == Where::kOwn) {
        data = pass.own;
        index += count * static_cast<Offset>(mask);
        count *= static_cast<Offset>(pass.masks);
    }
    return reinterpret_cast<const typename P::Four*>(data + plane.offset * count + plane.bytes * index);
}

}  // namespace znas::cuda
