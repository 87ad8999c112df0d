// The scheduler's tables: active messages, jobs, destinations and transports.  Plain structures with one
// owner, the Scheduler; no clock, no I/O.
//
// Words of SCHEDULER_README: a job is what one message has for one transport; a batch (Postfix's "entry") is
// what one delivery takes of it.  Jobs of a transport begin in the order in which their messages became
// active, except where a small one goes ahead of a large one (see Transport::pick).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "core/base/log.h"
#include "core/deliver/attempt.h"
#include "core/deliver/concurrency.h"
#include "core/net/fiber.h"

namespace millrace::deliver {

struct Transport;
struct Destination;
struct Job;

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
  std::size_t open_batches = 0;                 // not completed
  std::size_t next_unread = 0;                  // index of the first recipient that has no batch yet
  std::size_t unread = 0, in_memory = 0;        // recipients without a batch; in open batches
  std::map<Transport*, Job*> jobs;              // those the transports know
  std::shared_ptr<net::Event> wants_more;       // wakes its reader, which waits until in_memory …
  std::size_t refill_at = 0;                    // … has come down to this
  bool marked = false;                          // in flight, in the store
  bool withdrawn = false;                       // removed, held or damaged meanwhile: hands off
  bool flushed = false;                         // somebody asked for it: defer_transports does not hold it back
  std::vector<PassResult> results;
  std::vector<PassResult> others;               // Attempt::others, of messages that are traced
  std::size_t noted = 0;                        // of the results, how many are in the store
  // Set: an address verification probe, which the store knows nothing of; called at its end.
  std::function<void(const std::vector<PassResult>&)> probed;

  const std::string& id() const { return entry.envelope.queue_id; }
};

// Recipients of one message for one delivery.
struct Batch {
  std::shared_ptr<ActiveMessage> message;
  std::vector<std::size_t> recipients;
  Transport* transport = nullptr;
};

using JobOrder = std::uint64_t;

struct Job {
  ActiveMessage* message = nullptr;
  JobOrder order = 0;
  std::size_t waiting = 0, begun = 0;           // batches
  // Batches begun, less what was paid for others that went ahead: every `cost` of them let one batch pass.
  std::int64_t credit = 0;
  unsigned level = 0;                           // 0: in its own place; else it went ahead of one of level - 1
  TimePoint since{};
  std::vector<Destination*> places;             // with batches waiting

  // With those still to come counted as one batch each, as Postfix estimates it.
  std::size_t most() const { return waiting + begun + message->unread; }
};

struct Preemption {              // default_delivery_slot_cost and friends
  std::size_t cost = 5;          // 0: none
  std::size_t loan = 3, discount = 50, minimum = 3;
};

struct TransportLimits {
  std::size_t processes = 100;       // maxproc; 0: none
  std::size_t recipients = 50;       // of one delivery; 0: none; 1: each recipient is a destination
  std::chrono::seconds rate_delay{0}, transport_delay{0};
  ConcurrencyRules concurrency;
  Preemption preemption;
  std::size_t in_memory = 20000, extra_in_memory = 1000;   // recipients; extra for jobs that went ahead
  std::size_t refill = 100;          // recipients that must have gone before more are read …
  std::chrono::seconds refill_delay{5};   // … or the time since the last were
};

struct Destination {
  Destination(std::string key_text, std::string hop, const ConcurrencyRules& rules)
      : key(std::move(key_text)), nexthop(std::move(hop)), window(rules) {}
  struct Peer {
    Job* job = nullptr;
    std::deque<Batch> batches;
  };
  std::string key, nexthop;
  std::map<JobOrder, Peer> peers;    // none empty
  std::size_t waiting = 0, busy = 0; // batches
  bool resting = false;              // between deliveries, …_destination_rate_delay
  ConcurrencyWindow window;
  TimePoint dead_until{}, next_clog_warning{};
  std::string dead_dsn, dead_reason;
  std::optional<std::tuple<JobOrder, std::uint64_t, Destination*>> ready_as;   // its place in Transport::ready
  std::uint64_t turn = 0;            // when it was last served
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
  std::size_t busy = 0, recipients = 0;   // deliveries; recipients in batches, waiting or begun
  bool resting = false;            // between deliveries, …_transport_rate_delay
  TimePoint failed_until{};        // the agent itself was out of order
  std::map<std::string, std::unique_ptr<Destination>> destinations;
  std::map<JobOrder, std::unique_ptr<Job>> jobs;
  // Destinations that may begin a delivery now: by their first job, then in turn.
  std::set<std::tuple<JobOrder, std::uint64_t, Destination*>> ready;

  Destination& destination(const std::string& key, const std::string& nexthop);
  void add(Destination& destination, Batch batch);

  struct Pick {
    Destination* destination = nullptr;
    Batch batch;
  };
  // Where the next delivery begins now; nullptr when none may.  Decides who goes ahead of whom.
  Destination* next();
  // The same, and its batch, counted as begun.
  std::optional<Pick> pick();
  void occupy(Destination& destination);   // one more is busy there
  void leave(Destination& destination);    // one less
  // After a change of window, busy or resting.
  void update(Destination& destination);
  // All that waits there, no longer waiting.
  std::vector<Batch> take_all(Destination& destination);
  // The message has no more recipients to come: jobs without batches go.
  void forget_done(ActiveMessage& message);
  void forget_idle(Destination& destination);

 private:
  Job& job_of(ActiveMessage& message);
  void erase_if_done(Job& job);
  Job* who_may_go_ahead(Job& current);
  void go_ahead(Job& job, const Job& current);
  void set_order(Job& job, JobOrder order);
  void renumber();
  JobOrder last_order_ = 0;
  std::uint64_t turns_ = 0;
  const Job* nobody_ahead_of_ = nullptr;   // the last search found none, and nothing has changed since
};

}  // namespace millrace::deliver
