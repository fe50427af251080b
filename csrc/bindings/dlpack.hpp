// The memory layout of DLPack, the protocol in which array libraries lend each other memory.
// https://dmlc.github.io/dlpack/latest/c_api.html; only what a borrower of host memory reads is named.
#pragma once

#include <cstdint>

namespace znas::dlpack {

inline constexpr std::int32_t kCpu = 1;
inline constexpr std::int32_t kCudaHost = 3;  // pinned host memory

enum Kind : std::uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };

struct Version {
    std::uint32_t major;
    std::uint32_t minor;
};

struct Device {
    std::int32_t type;
    std::int32_t id;
};

struct DataType {
    std::uint8_t kind;
    std::uint8_t bits;
    std::uint16_t lanes;
};

struct Tensor {
    void* data;
    Device device;
    std::int32_t dimensions;
    DataType dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null means C-contiguous
    std::uint64_t byte_offset;
};

// The content of a capsule named "dltensor".
struct Legacy {
    Tensor tensor;
    void* owner;
    void (*deleter)(Legacy*);
};

// The content of a capsule named "dltensor_versioned".
struct Versioned {
    Version version;
    void* owner;
    void (*deleter)(Versioned*);
    std::uint64_t flags;
    Tensor tensor;
};

}  // namespace znas::dlpack
