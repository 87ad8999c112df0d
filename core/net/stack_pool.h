// Guarded stacks for fibers, reused.  Promise: running off a stack's end hits a guard page
// (SIGSEGV), never a neighbour.  Knows how many stacks a process may have (each takes two of
// vm.max_map_count mappings) and says no before the kernel does, because then malloc would fail
// too.  One pool per loop.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "core/net/fiber.h"

namespace millrace::net {

struct StackMemory {
  char* base = nullptr;  // lowest usable byte, above the guard page
  std::size_t size = 0;
};

class StackPool {
 public:
  StackPool() = default;
  ~StackPool();
  StackPool(const StackPool&) = delete;

  std::optional<StackMemory> take(Stack kind);  // nullopt: the process has as many as it may
  void give_back(Stack kind, StackMemory memory);

  static std::size_t size_of(Stack kind);
  static std::size_t process_limit();

 private:
  std::vector<char*> free_[3];
};

}  // namespace millrace::net
