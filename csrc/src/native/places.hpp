// Which bytes of an arena are free.
#pragma once

#include <cstddef>
#include <iterator>
#include <map>
#include <utility>

namespace znas::native {

// The smallest gap that is large enough is taken first.
class Places {
  public:
    std::size_t take(std::size_t bytes) {
        bytes = aligned(bytes);
        auto best = gaps_.end();
        for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
            if (gap->second >= bytes && (best == gaps_.end() || gap->second < best->second)) best = gap;
        }
        if (best == gaps_.end()) return std::exchange(end_, end_ + bytes);
        const auto [offset, size] = *best;
        gaps_.erase(best);
        if (size > bytes) gaps_[offset + bytes] = size - bytes;
        return offset;
    }
    void give(std::size_t offset, std::size_t bytes) {
        auto gap = gaps_.emplace(offset, aligned(bytes)).first;
        const auto next = std::next(gap);
        if (next != gaps_.end() && gap->first + gap->second == next->first) {
            gap->second += next->second;
            gaps_.erase(next);
        }
        if (gap == gaps_.begin()) return;
        const auto before = std::prev(gap);
        if (before->first + before->second == gap->first) {
            before->second += gap->second;
            gaps_.erase(gap);
        }
    }
    std::size_t end() const { return end_; }

  private:
    static std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

    std::map<std::size_t, std::size_t> gaps_;  // offset -> bytes; no two touch
    std::size_t end_ = 0;
};

}  // namespace znas::native
