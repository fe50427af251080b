#pragma once

#include <cstddef>
#include <functional>

namespace znas {

// Calls body(task) once for every task in [0, tasks), in any order, on at most `threads` threads of which
// the caller is one. `body` must not throw.
void parallel_for(std::size_t tasks, int threads, const std::function<void(std::size_t)>& body);

}  // namespace znas
