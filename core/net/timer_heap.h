// The deadlines of a loop: a heap of entries that live in what waits, with one kernel timer behind
// it. Insert, move and erase cost no system call and no allocation beyond the heap's own array.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/clock.h"

namespace millrace::net {

struct TimerEntry {
  static constexpr std::uint32_t kOut = UINT32_MAX;
  TimePoint at;
  void (*fire)(TimerEntry& self) = nullptr;  // on the loop, after the entry left the heap
  std::uint32_t index = kOut;                // in the heap
};

class TimerHeap {
 public:
  bool empty() const { return entries_.empty(); }
  TimerEntry& first() const { return *entries_.front(); }

  void insert(TimerEntry& entry) {
    entry.index = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back(&entry);
    up(entry.index);
  }

  void erase(TimerEntry& entry) {  // fine when it is not in
    const std::uint32_t hole = entry.index;
    if (hole == TimerEntry::kOut) return;
    entry.index = TimerEntry::kOut;
    TimerEntry* last = entries_.back();
    entries_.pop_back();
    if (last == &entry) return;
    put(hole, last);
    up(hole);
    down(last->index);
  }

 private:
  void put(std::uint32_t i, TimerEntry* entry) {
    entries_[i] = entry;
    entry->index = i;
  }

  void up(std::uint32_t i) {
    TimerEntry* moving = entries_[i];
    while (i > 0 && moving->at < entries_[(i - 1) / 4]->at) {
      put(i, entries_[(i - 1) / 4]);
      i = (i - 1) / 4;
    }
    put(i, moving);
  }

  void down(std::uint32_t i) {
    TimerEntry* moving = entries_[i];
    for (;;) {
      const std::size_t child = std::size_t{i} * 4 + 1;
      if (child >= entries_.size()) break;
      std::size_t least = child;
      for (std::size_t c = child + 1; c < child + 4 && c < entries_.size(); ++c) {
        if (entries_[c]->at < entries_[least]->at) least = c;
      }
      if (moving->at <= entries_[least]->at) break;
      put(i, entries_[least]);
      i = static_cast<std::uint32_t>(least);
    }
    put(i, moving);
  }

  std::vector<TimerEntry*> entries_;
};

}  // namespace millrace::net
