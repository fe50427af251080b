#include "dispatch.hpp"

#include <stdexcept>
#include <string>

namespace znas {

std::string_view name(Isa isa) {
    switch (isa) {
        case Isa::kAvx2:
            return "avx2";
        case Isa::kAvx512:
            return "avx512";
        default:
            return "reference";
    }
}

std::optional<Isa> isa_from_name(std::string_view wanted) {
    for (const Isa isa : kIsas) {
        if (name(isa) == wanted) return isa;
    }
    return std::nullopt;
}

namespace {

#if ZNAS_X86
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("popcnt");
}

bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vpopcntdq");
}
#endif

// The table of `isa`, or null where this build or this processor lacks it.
const KernelTable* find(Isa isa) {
    switch (isa) {
        case Isa::kReference:
            return &kReferenceKernels;
#if ZNAS_X86
        case Isa::kAvx2:
            return has_avx2() ? &kAvx2Kernels : nullptr;
        case Isa::kAvx512:
            return has_avx512() ? &kAvx512Kernels : nullptr;
#endif
        default:
            return nullptr;
    }
}

}  // namespace

bool available(Isa isa) { return find(isa) != nullptr; }

Isa fastest_isa() {
    Isa fastest = Isa::kReference;
    for (const Isa isa : kIsas) {
        if (available(isa)) fastest = isa;
    }
    return fastest;
}

const KernelTable& kernels(Isa isa) {
    const KernelTable* table = find(isa);
    if (table == nullptr) {
        throw std::invalid_argument("this machine cannot run the " + std::string(name(isa)) + " kernels");
    }
    return *table;
}

}  // namespace znas
