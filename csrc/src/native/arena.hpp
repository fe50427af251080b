// The memory of images that go together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#if __linux__
#include <sys/mman.h>
#endif

namespace znas::native {

class Arena {
  public:
    explicit Arena(std::size_t bytes) : memory_(new (kLine) char[bytes]) {
#if __linux__
        // Hundreds of images touch tens of megabytes once per pass: fresh small pages would cost more than
        // the steps that write them. A kernel that has no large ones says no, and nothing else changes.
        constexpr std::uintptr_t kPage = 4096;
        const auto first = (reinterpret_cast<std::uintptr_t>(memory_) + kPage - 1) / kPage * kPage;
        const auto end = reinterpret_cast<std::uintptr_t>(memory_) + bytes;
        if (bytes >= kLarge) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
    }
    ~Arena() { ::operator delete[](memory_, kLine); }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    char* data() const { return memory_; }

  private:
    static constexpr std::align_val_t kLine{64};
    static constexpr std::size_t kLarge = std::size_t{1} << 22;
    char* memory_;
};

}  // namespace znas::native
