// Handles for foreign code: a slot and its generation, so that a stale one is refused and never reaches
// another thing.  [any thread]
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace millrace::plugin {

// `kind` (1 to 15) is part of each handle: one of another kind is refused too.
template <typename T>
class HandleTable {
 public:
  explicit HandleTable(unsigned kind) : kind_(static_cast<std::uint64_t>(kind) << 60) {}

  std::uint64_t add(std::shared_ptr<T> thing) {
    const std::lock_guard lock(mutex_);
    std::uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].thing = std::move(thing);
    return handle(slot);
  }
  std::shared_ptr<T> find(std::uint64_t given) const {
    const std::lock_guard lock(mutex_);
    const auto slot = static_cast<std::uint32_t>(given);
    return slot < slots_.size() && handle(slot) == given ? slots_[slot].thing : nullptr;
  }
  void remove(std::uint64_t given) {
    std::shared_ptr<T> last;   // dies after the lock
    const std::lock_guard lock(mutex_);
    const auto slot = static_cast<std::uint32_t>(given);
    if (slot >= slots_.size() || handle(slot) != given || !slots_[slot].thing) return;
    last = std::move(slots_[slot].thing);
    slots_[slot].thing = nullptr;
    // Generations of 28 bits; a slot that has used them all up stays empty for ever.
    if (slots_[slot].generation.fetch_add(1) + 1 < kGenerations) free_.push_back(slot);
  }
  // The same thing under a new handle: the old one is refused from now on.  0: this slot has had all of its handles.
  // Only by the thread that also add()s, with a handle that it knows to be good: no lock, it is done for each call.
  std::uint64_t renew(std::uint64_t given) {
    Slot& slot = slots_[static_cast<std::uint32_t>(given)];
    const std::uint32_t next = slot.generation.load(std::memory_order_relaxed) + 1;
    if (next >= kGenerations) return 0;
    slot.generation.store(next, std::memory_order_release);
    return handle(static_cast<std::uint32_t>(given));
  }
  std::vector<std::shared_ptr<T>> all() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<T>> out;
    for (const Slot& slot : slots_) {
      if (slot.thing) out.push_back(slot.thing);
    }
    return out;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return slots_.size() - free_.size();
  }

 private:
  struct Slot {
    std::shared_ptr<T> thing;
    std::atomic<std::uint32_t> generation{1};
  };
  static constexpr std::uint32_t kGenerations = 1u << 28;
  std::uint64_t handle(std::uint32_t slot) const {
    return kind_ | static_cast<std::uint64_t>(slots_[slot].generation.load(std::memory_order_acquire)) << 32 | slot;
  }

  std::uint64_t kind_;
  mutable std::mutex mutex_;
  std::deque<Slot> slots_;   // they do not move
  std::vector<std::uint32_t> free_;
};

}  // namespace millrace::plugin
