#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace znas {

void parallel_for(std::size_t tasks, int threads, const std::function<void(std::size_t)>& body) {
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
        for (std::size_t task = next++; task < tasks; task = next++) body(task);
    };

    const std::size_t wanted = std::min<std::size_t>(tasks, static_cast<std::size_t>(threads));
    std::vector<std::thread> helpers;
    helpers.reserve(wanted);
    try {
        while (helpers.size() + 1 < wanted) helpers.emplace_back(work);
    } catch (const std::system_error&) {
        // The system has no more threads to give: those that started, and the caller, do all the work.
    }
    work();
    for (std::thread& helper : helpers) helper.join();
}

}  // namespace znas
