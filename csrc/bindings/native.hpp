#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <vector>

#include "znas/native/program.hpp"

namespace znas::bindings {

using FloatArray = pybind11::array_t<float, pybind11::array::c_style | pybind11::array::forcecast>;

std::vector<float> numbers(const FloatArray& array);
// Refuses what has not the shape [n, channels, height, width] of the program's images.
void check_images(const native::Program& program, const FloatArray& images);
// logits, codes per wanted site, pooled, features per kept site, means and variances per value with moments.
pybind11::tuple as_tuple(native::Output output, std::size_t images);

// The classes ProgramBuilder, Program and Compiled: what backends/native.py is made of.
void register_native(pybind11::module_& m);
// The classes CudaImages and CudaMask, and what makes them: the same on a GPU.
void register_cuda(pybind11::module_& m);

}  // namespace znas::bindings
