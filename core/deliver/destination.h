// The scheduler's tables: active messages, jobs, destinations and transports.  Plain structures with one
// owner, the Scheduler.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/deliver/attempt.h"
#include "core/deliver/concurrency.h"

namespace millrace::deliver {

// What happened to a recipient in this pass; see RecipientState for the fields.
struct PassResult {
  std::size_t recipient = 0;   // index in the entry
  Outcome outcome;
};

struct ActiveMessage {
  queue::Entry entry;
  std::shared_ptr<const std::string> content;   // when small and wanted in memory
  std::shared_ptr<queue::Content> file;         // opened at the first attempt otherwise
  WallMicros active = 0;
  std::size_t open_jobs = 0, active_recipients = 0;
  bool marked = false;                          // in flight, in the store
  bool withdrawn = false;                       // removed, held or damaged meanwhile: hands off
  std::vector<PassResult> results;

  const std::string& id() const { return entry.envelope.queue_id; }
};

// Recipients of one message for one delivery.
struct Job {
  std::shared_ptr<ActiveMessage> message;
  std::vector<std::size_t> recipients;
};

struct TransportLimits {
  std::size_t processes = 100;       // maxproc; 0: none
  std::size_t recipients = 50;       // of one delivery; 0: none; 1: each recipient is a destination
  std::chrono::seconds rate_delay{0};
  ConcurrencyRules concurrency;
};

struct Destination {
  Destination(std::string key_text, std::string hop, const ConcurrencyRules& rules)
      : key(std::move(key_text)), nexthop(std::move(hop)), window(rules) {}
  std::string key, nexthop;
  std::deque<Job> jobs;
  std::size_t busy = 0;
  bool in_ring = false;
  ConcurrencyWindow window;
  TimePoint dead_until{}, not_before{};
  std::string dead_dsn, dead_reason;
  // Deliveries ended in this and in the previous second: is it worth keeping connections?
  std::int64_t second = 0;
  std::size_t now_ended = 0, before_ended = 0;

  void count_end();
  bool is_busy() const;
};

struct Transport {
  std::string name;
  TransportLimits limits;
  std::unique_ptr<Agent> agent;
  log::Logger log;                 // "postfix/smtp"
  std::size_t busy = 0;
  std::map<std::string, std::unique_ptr<Destination>> destinations;
  std::deque<Destination*> ring;   // those with jobs waiting, in turn

  Destination& destination(const std::string& key, const std::string& nexthop);
  void enter_ring(Destination& destination);
  // The next that may start a delivery now, turned to the end of the ring; nullptr when none may.
  Destination* next_ready(TimePoint now);
  // Does another destination wait for a place in a transport that has none left?
  bool others_wait(const Destination& than) const;
  void forget_idle(Destination& destination);
};

}  // namespace millrace::deliver
