#include "core/net/stack_pool.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "core/net/sanitizer.h"

namespace millrace::net {
namespace {

// What is kept for reuse: enough that a busy process never calls mmap, little enough that a burst
// does not stay in memory.
constexpr std::size_t kKept[3] = {256, 64, 32};
constexpr std::size_t kMappingsForTheRest = 8192;  // libraries, malloc arenas, files

std::atomic<std::size_t> live_stacks{0};

std::size_t page_size() {
  static const std::size_t size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

void unmap(char* base, std::size_t size) {
  munmap(base - page_size(), size + page_size());
  live_stacks.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace

std::size_t StackPool::size_of(Stack kind) {
  constexpr std::size_t kKiB[3] = {64, 256, 512};
  return kKiB[static_cast<std::size_t>(kind)] * 1024 * (kSanitized ? 2 : 1);
}

std::size_t StackPool::process_limit() {
  static const std::size_t limit = [] {
    std::size_t mappings = 65530;
    std::ifstream("/proc/sys/vm/max_map_count") >> mappings;
    return std::max<std::size_t>(mappings, kMappingsForTheRest + 256) / 2 - kMappingsForTheRest / 2;
  }();
  return limit;
}

std::optional<StackMemory> StackPool::take(Stack kind) {
  const std::size_t size = size_of(kind);
  std::vector<char*>& kept = free_[static_cast<std::size_t>(kind)];
  if (!kept.empty()) {
    char* base = kept.back();
    kept.pop_back();
    return StackMemory{base, size};
  }
  if (live_stacks.fetch_add(1, std::memory_order_relaxed) < process_limit()) {
    void* area = mmap(nullptr, size + page_size(), PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (area != MAP_FAILED) {
      char* base = static_cast<char*>(area) + page_size();
      if (mprotect(base, size, PROT_READ | PROT_WRITE) == 0) return StackMemory{base, size};
      munmap(area, size + page_size());
    }
  }
  live_stacks.fetch_sub(1, std::memory_order_relaxed);
  return std::nullopt;
}

void StackPool::give_back(Stack kind, StackMemory memory) {
  sanitizer_forget(memory.base, memory.size);
  std::vector<char*>& kept = free_[static_cast<std::size_t>(kind)];
  if (kept.size() < kKept[static_cast<std::size_t>(kind)]) {
    kept.push_back(memory.base);
  } else {
    unmap(memory.base, memory.size);
  }
}

StackPool::~StackPool() {
  for (const Stack kind : {Stack::session, Stack::plugin, Stack::lua}) {
    for (char* base : free_[static_cast<std::size_t>(kind)]) unmap(base, size_of(kind));
  }
}

}  // namespace millrace::net
