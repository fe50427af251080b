#pragma once

#include "kernel_table.hpp"
#include "znas/isa.hpp"

namespace znas {

// The inner loops of `isa`. Throws std::invalid_argument if it is not available.
const KernelTable& kernels(Isa isa);

}  // namespace znas
