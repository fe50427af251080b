#pragma once

#include <pybind11/pybind11.h>

namespace znas::bindings {

// The classes ProgramBuilder, Program and Compiled: what backends/native.py is made of.
void register_native(pybind11::module_& m);

}  // namespace znas::bindings
