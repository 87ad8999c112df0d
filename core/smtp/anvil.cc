// See anvil.h.
#include "core/smtp/anvil.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <algorithm>
#include <cerrno>

#include "core/base/clock.h"
#include "core/base/random.h"

namespace millrace::smtp {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now().time_since_epoch()).count();
}

// FNV-1a with a final mix, from a secret seed: a client cannot choose addresses that share a slot.
std::uint64_t hash(std::uint64_t seed, std::string_view text) {
  std::uint64_t value = seed;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  value ^= value >> 32;
  value *= 0x9E3779B97F4A7C15u;
  return value ^ (value >> 29);
}

}  // namespace

Result<AnvilTable*> AnvilTable::map() {
  void* memory = mmap(nullptr, sizeof(AnvilTable), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail(Errc::io, std::string("map anvil table: ") + strerror(errno));
  // Zero bytes are the initial value of every lock-free atomic here; touching all of it would cost memory.
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint16_t>::is_always_lock_free);
  auto* table = static_cast<AnvilTable*>(memory);
  table->seed_.store(random_u64(), relaxed);
  return table;
}

std::uint32_t AnvilTable::Slot::total() const {
  std::uint32_t sum = 0;
  for (const auto& one : connections) sum += one.load(relaxed);
  return sum;
}

void AnvilTable::clear_process(unsigned process) {
  for (Slot& slot : slots_) {
    if (slot.tag.load(relaxed) != 0) slot.connections[process % kProcesses].store(0, relaxed);
  }
}

unsigned AnvilTable::next_session_number() { return sessions_.fetch_add(1, relaxed) % 1000000 + 1; }

void AnvilTable::Maximum::note(std::uint32_t candidate, std::string_view service, std::string_view address) {
  if (candidate <= value.load(relaxed)) return;
  // Only one writer; who comes second leaves it: these are statistics.
  if (busy.exchange(1, std::memory_order_acquire) != 0) return;
  if (candidate > value.load(relaxed)) {
    char text[80] = {};
    const std::string name = fmt::format("{}:{}", service, address);
    memcpy(text, name.data(), std::min(name.size(), sizeof text - 1));
    for (std::size_t i = 0; i < key.size(); ++i) {
      std::uint64_t word;
      memcpy(&word, text + i * 8, 8);
      key[i].store(word, relaxed);
    }
    when.store(wall_now() / 1000000, relaxed);
    value.store(candidate, relaxed);
  }
  busy.store(0, std::memory_order_release);
}

std::vector<std::string> AnvilTable::take_statistics(std::chrono::seconds time_unit) {
  static constexpr const char* kNames[] = {"connection rate", "message rate", "recipient rate", "newtls rate",
                                           "connection count"};
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < maxima_.size(); ++i) {
    Maximum& maximum = maxima_[i];
    if (maximum.busy.exchange(1, std::memory_order_acquire) != 0) continue;
    const std::uint32_t value = maximum.value.exchange(0, relaxed);
    if (value > 0) {
      char text[81] = {};
      for (std::size_t k = 0; k < maximum.key.size(); ++k) {
        const std::uint64_t word = maximum.key[k].load(relaxed);
        memcpy(text + k * 8, &word, 8);
      }
      const std::string unit = i < kRates ? fmt::format("/{}s", time_unit.count()) : "";
      lines.push_back(fmt::format("statistics: max {} {}{} for ({}) at {}", kNames[i], value, unit, text,
                                  syslog_date(maximum.when.load(relaxed) * 1000000)));
    }
    maximum.busy.store(0, std::memory_order_release);
  }
  return lines;
}

std::uint64_t Anvil::tag_of(std::string_view service, std::string_view address) const {
  const std::uint64_t seed = table_->seed_.load(relaxed);
  const std::uint64_t tag = hash(hash(seed, service), address);
  return tag == 0 ? 1 : tag;
}

int Anvil::find(std::uint64_t tag) {
  const std::int64_t now = steady_ms();
  const std::int64_t unit = std::chrono::milliseconds(unit_).count();
  for (int attempt = 0; attempt < 4; ++attempt) {
    int candidate = -1;
    std::uint64_t old = 0;
    for (std::size_t probe = 0; probe < AnvilTable::kProbes; ++probe) {
      const std::size_t index = (tag + probe) % AnvilTable::kSlots;
      AnvilTable::Slot& slot = table_->slots_[index];
      const std::uint64_t found = slot.tag.load(std::memory_order_acquire);
      if (found == tag) return static_cast<int>(index);
      // Entries are never unlinked, so the first unused slot ends the chain; one whose window is over and
      // that nobody is connected to may be taken over.
      if (candidate < 0 && (found == 0 || (now - slot.window.load(relaxed) > unit && slot.total() == 0))) {
        candidate = static_cast<int>(index);
        old = found;
      }
      if (found == 0) break;
    }
    if (candidate < 0) return -1;
    AnvilTable::Slot& slot = table_->slots_[static_cast<std::size_t>(candidate)];
    // The window is set first: a slot with a fresh tag must not look expired.
    slot.window.store(now, relaxed);
    if (!slot.tag.compare_exchange_strong(old, tag, std::memory_order_acq_rel)) continue;
    for (auto& rate : slot.rates) rate.store(0, relaxed);
    return candidate;
  }
  return -1;
}

std::uint32_t Anvil::count(AnvilTable::Slot& slot, AnvilTable::Rate rate) {
  const std::int64_t now = steady_ms();
  std::int64_t start = slot.window.load(relaxed);
  if (now - start > std::chrono::milliseconds(unit_).count() &&
      slot.window.compare_exchange_strong(start, now, relaxed)) {
    for (auto& one : slot.rates) one.store(0, relaxed);
  }
  return slot.rates[rate].fetch_add(1, relaxed) + 1;
}

Anvil::Connection Anvil::connect(std::string_view service, std::string_view address) {
  const Connection out = count_in(tag_of(service, address));
  table_->maxima_[AnvilTable::kConnections].note(out.rate, service, address);
  table_->maxima_[AnvilTable::kRates].note(out.count, service, address);
  return out;
}

Anvil::Connection Anvil::count_in(std::uint64_t tag) {
  for (int attempt = 0; attempt < 4; ++attempt) {
    Connection out;
    out.slot = find(tag);
    if (out.slot < 0) return out;
    AnvilTable::Slot& slot = table_->slots_[static_cast<std::size_t>(out.slot)];
    slot.connections[process_].fetch_add(1, std::memory_order_acq_rel);
    if (slot.tag.load(std::memory_order_acquire) != tag) {   // taken over in between
      slot.connections[process_].fetch_sub(1, relaxed);
      continue;
    }
    out.count = slot.total();
    out.rate = count(slot, AnvilTable::kConnections);
    return out;
  }
  return {};
}

void Anvil::disconnect(const Connection& connection) {
  if (connection.slot < 0) return;
  auto& held = table_->slots_[static_cast<std::size_t>(connection.slot)].connections[process_];
  std::uint16_t now = held.load(relaxed);
  while (now > 0 && !held.compare_exchange_weak(now, static_cast<std::uint16_t>(now - 1), relaxed)) {
  }
}

std::uint32_t Anvil::event(AnvilTable::Rate rate, std::string_view service, std::string_view address) {
  const int index = find(tag_of(service, address));
  if (index < 0) return 0;
  const std::uint32_t value = count(table_->slots_[static_cast<std::size_t>(index)], rate);
  table_->maxima_[rate].note(value, service, address);
  return value;
}

}  // namespace millrace::smtp
