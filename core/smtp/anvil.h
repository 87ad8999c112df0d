// Counts and rates per client for the whole server: what Postfix's anvil(8) is asked, as a table in
// memory that all front processes share.
//
// The master makes the table before it forks.  All operations are atomics on a fixed-size open-addressing
// table, from any process and thread, without locks: a process that is killed at any moment leaves at most
// its own connection counts behind, and those the master clears (clear_process).  When the table is full
// of live entries, further clients are not counted: limits fail open, as with a dead anvil(8).
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace millrace::smtp {

class AnvilTable {
 public:
  static constexpr std::size_t kProcesses = 128;    // two generations of fronts
  static constexpr std::size_t kSlots = 16384;      // power of two
  static constexpr std::size_t kProbes = 32;
  enum Rate { kConnections, kMessages, kRecipients, kNewTls, kRates };

  // An anonymous shared mapping that lives until the process ends.  Errors: io.
  static Result<AnvilTable*> map();

  // The process behind `process` is gone: its connections are too. [any thread]
  void clear_process(unsigned process);
  // Numbers for sessions in logs, unique over all processes until they wrap.
  unsigned next_session_number();

  // Postfix's "statistics: max connection rate 4/60s for (smtp:192.0.2.1) at Nov 21 11:50:52" since the
  // last call, for the log of program anvil; to be called by one process every anvil_status_update_time.
  std::vector<std::string> take_statistics(std::chrono::seconds time_unit);

 private:
  friend class Anvil;
  struct Slot {
    std::atomic<std::uint64_t> tag;                 // hash of the key, 0 = never used
    std::atomic<std::int64_t> window;               // start, in steady milliseconds
    std::array<std::atomic<std::uint32_t>, kRates> rates;
    std::array<std::atomic<std::uint16_t>, kProcesses> connections;
    std::uint32_t total() const;
  };
  struct Maximum {
    std::atomic<std::uint32_t> busy;
    std::atomic<std::uint32_t> value;
    std::atomic<std::int64_t> when;                 // wall seconds
    std::array<std::atomic<std::uint64_t>, 10> key; // "smtp:192.0.2.1"
    void note(std::uint32_t candidate, std::string_view service, std::string_view address);
  };
  std::atomic<std::uint64_t> seed_;
  std::atomic<std::uint32_t> sessions_;
  std::array<Maximum, kRates + 1> maxima_;          // by Rate; the last: connection count
  std::array<Slot, kSlots> slots_;
};

// One process's view.  Value; thread-safe.
class Anvil {
 public:
  Anvil(AnvilTable& table, unsigned process, std::chrono::seconds time_unit)
      : table_(&table), process_(process % AnvilTable::kProcesses), unit_(time_unit) {}

  struct Connection {
    int slot = -1;             // -1: not counted
    std::uint32_t count = 0;   // open now, this one included
    std::uint32_t rate = 0;    // in this time unit, this one included
  };
  // To be paired with disconnect().
  Connection connect(std::string_view service, std::string_view address);
  void disconnect(const Connection& connection);
  // Sessions of a service over all processes (maxproc); paired with disconnect() as well.
  Connection enter(std::string_view service) { return count_in(tag_of(service, "*")); }
  // How many in this time unit, this one included; 0 when it cannot be counted.
  std::uint32_t message(std::string_view service, std::string_view address) { return event(AnvilTable::kMessages, service, address); }
  std::uint32_t recipient(std::string_view service, std::string_view address) { return event(AnvilTable::kRecipients, service, address); }
  std::uint32_t new_tls(std::string_view service, std::string_view address) { return event(AnvilTable::kNewTls, service, address); }
  unsigned next_session_number() { return table_->next_session_number(); }

 private:
  std::uint32_t event(AnvilTable::Rate rate, std::string_view service, std::string_view address);
  Connection count_in(std::uint64_t tag);
  std::uint64_t tag_of(std::string_view service, std::string_view address) const;
  int find(std::uint64_t tag);
  std::uint32_t count(AnvilTable::Slot& slot, AnvilTable::Rate rate);
  AnvilTable* table_;
  unsigned process_;
  std::chrono::seconds unit_;
};

}  // namespace millrace::smtp
