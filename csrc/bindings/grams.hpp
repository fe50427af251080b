// What of the compiled half is asked for on an instruction set, and sums of products of features.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "znas/isa.hpp"

namespace znas::bindings {

inline Isa parse_isa(const std::string& wanted) {
    const std::optional<Isa> isa = isa_from_name(wanted);
    if (!isa) throw pybind11::value_error("unknown isa '" + wanted + "'");
    return *isa;
}

// The functions channel_gram, image_gram and response_grams.
void register_grams(pybind11::module_& m);

}  // namespace znas::bindings
