// Which masks go through a program together.
//
// Masks are ordered as a tree: those that agree on the mask entries that are read first, value by value, hang
// on one branch. The largest branch of a fork runs last, when the others no longer need what all of them
// share: so what waits for later masks belongs to as many forks as the logarithm of the number of masks at
// most, and of masks that each leave one path at another place, to one.
//
// A branch runs as one part if that saves a tenth of the work and what it takes stays in bounds; else each of
// its own branches by itself. Where masks share little, one after another has its weights in cache.
#include <algorithm>
#include <numeric>
#include <utility>

#include "compiled.hpp"

namespace znas::native {

namespace {

// Of the work that the masks alone would be.
constexpr double kWorthwhile = 0.9;

struct Branch {
    std::vector<std::size_t> masks;  // in the order in which they run
    std::vector<Branch> branches;    // none where all masks are the same
};

class Parts {
  public:
    Parts(const Program& program, const Masks& masks, const std::vector<int>& kept, int images,
          std::size_t room)
        : program_(program), masks_(masks), kept_(kept), images_(images), room_(room) {
        for (const Value& value : program.values()) {
            for (const Term& term : value.terms) {
                const auto slot = static_cast<std::size_t>(term.slot);
                if (term.slot != kNoSlot && std::find(slots_.begin(), slots_.end(), slot) == slots_.end()) {
                    slots_.push_back(slot);
                }
            }
        }
        for (const auto& mask : masks) {
            const Compiled alone = plan(program, {mask}, kept);
            work_.push_back(alone.work);
            bytes_.push_back(run_bytes(alone, images));
        }
    }

    std::vector<std::vector<std::size_t>> found() {
        std::vector<std::size_t> all(masks_.size());
        std::iota(all.begin(), all.end(), std::size_t{0});
        cut(grown(std::move(all), 0));
        return std::move(parts_);
    }

  private:
    // slot: the first, in the order of reading, on which the masks may not agree.
    Branch grown(std::vector<std::size_t> masks, std::size_t slot) const {
        for (; slot < slots_.size(); ++slot) {
            std::vector<std::vector<std::size_t>> groups;
            for (const std::size_t mask : masks) {
                const auto same = [&](const auto& group) {
                    return entry(group[0], slot) == entry(mask, slot);
                };
                const auto group = std::find_if(groups.begin(), groups.end(), same);
                if (group == groups.end()) {
                    groups.push_back({mask});
                } else {
                    group->push_back(mask);
                }
            }
            if (groups.size() == 1) continue;
            std::stable_sort(groups.begin(), groups.end(),
                             [](const auto& a, const auto& b) { return a.size() < b.size(); });
            Branch made;
            for (auto& group : groups) {
                made.branches.push_back(grown(std::move(group), slot + 1));
                const auto& part = made.branches.back().masks;
                made.masks.insert(made.masks.end(), part.begin(), part.end());
            }
            return made;
        }
        return {std::move(masks), {}};
    }

    float entry(std::size_t mask, std::size_t slot) const { return masks_[mask].at(slots_[slot]); }

    void cut(const Branch& branch) {
        if (branch.branches.empty() || runs_together(branch.masks)) {
            parts_.push_back(branch.masks);
            return;
        }
        for (const Branch& each : branch.branches) cut(each);
    }

    bool runs_together(const std::vector<std::size_t>& numbers) const {
        Masks masks;
        double work = 0;
        std::size_t most = 0;
        for (const std::size_t mask : numbers) {
            masks.push_back(masks_[mask]);
            work += work_[mask];
            most = std::max(most, bytes_[mask]);
        }
        const Compiled together = plan(program_, masks, kept_);
        return together.work <= kWorthwhile * work && run_bytes(together, images_) <= room_ + most;
    }

    const Program& program_;
    const Masks& masks_;
    const std::vector<int>& kept_;
    const int images_;
    const std::size_t room_;
    std::vector<std::size_t> slots_;  // in the order in which values read them
    std::vector<double> work_;        // of each mask alone
    std::vector<std::size_t> bytes_;  // likewise
    std::vector<std::vector<std::size_t>> parts_;
};

}  // namespace

std::vector<std::vector<std::size_t>> Program::parts(const Masks& masks, const std::vector<int>& kept,
                                                     int images, std::size_t room) const {
    if (masks.size() == 1) return {{0}};
    return Parts(*this, masks, kept, images, room).found();
}

}  // namespace znas::native
