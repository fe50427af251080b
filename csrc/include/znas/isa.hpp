// The instruction sets that the kernels are written for, and which of them this machine can run.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace znas {

enum class Isa {
    kReference,  // plain C++, every machine
    kAvx2,       // AVX2, FMA, POPCNT
    kAvx512,     // AVX-512 F, BW, DQ, VL and VPOPCNTDQ (Ice Lake, Zen 4 and later)
};

// Slowest first.
inline constexpr std::array kIsas{Isa::kReference, Isa::kAvx2, Isa::kAvx512};

std::string_view name(Isa isa);
std::optional<Isa> isa_from_name(std::string_view name);

// Whether this build holds the kernels of `isa` and this processor can execute them.
bool available(Isa isa);

// The last of kIsas that is available.
Isa fastest_isa();

}  // namespace znas
