// A borrowed look at somebody else's array: no copy, and the lender is kept alive as long as the view.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace znas::bindings {

// An element type by NumPy's name for it; one that is none of ours keeps the name its lender gave it.
struct DType {
    std::string name;
    int bits;

    bool operator==(const DType&) const = default;
};

inline const DType kFloat32{"float32", 32};
inline const DType kInt64{"int64", 64};
inline const DType kUInt64{"uint64", 64};
inline const DType kBool{"bool", 8};

class TensorView {
  public:
    // Borrows `array` through the buffer protocol (NumPy, memoryview) or through DLPack (PyTorch and
    // others), from host memory only, to read it. Throws ValueError, naming the argument `name`, if there is
    // nothing to borrow or it is not C-contiguous.
    TensorView(pybind11::handle array, std::string name);

    // ValueError unless the elements have one of these types.
    void require_dtype(const std::vector<DType>& allowed) const;

    // ValueError unless there is one axis per name: require_axes({"images", "classes"}).
    void require_axes(const std::vector<std::string>& axes) const;

    const DType& dtype() const { return dtype_; }
    const std::vector<std::size_t>& shape() const { return shape_; }
    std::size_t size() const;

    template <typename T>
    T* data() const {
        return static_cast<T*>(data_);
    }

    [[noreturn]] void refuse(const std::string& problem) const;

  private:
    void borrow_buffer(pybind11::handle array);
    void borrow_dlpack(pybind11::handle array);
    void require_contiguous(const std::vector<std::int64_t>& strides) const;

    std::string name_;
    void* data_ = nullptr;
    DType dtype_;
    std::vector<std::size_t> shape_;

    // The lender: a Py_buffer, released on destruction; or a capsule that we leave as it was lent, so that
    // its own destructor returns the memory, exactly once, when we drop it.
    std::optional<pybind11::buffer_info> buffer_;
    pybind11::object capsule_;
};

// "[3, 4]"
std::string show(const std::vector<std::size_t>& shape);

}  // namespace znas::bindings
