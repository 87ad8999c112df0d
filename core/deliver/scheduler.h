// The queue manager: which message is tried when, and how many deliveries run where (qmgr(8),
// SCHEDULER_README).
//
// Promise: at most qmgr_message_active_limit messages are in memory, the others as an id and a time; jobs of
// a transport run in order, small ones ahead of large ones as Postfix's slots allow; a recipient is struck
// off only after the next hop took it or the notice about it is stored; before an attempt the message is
// marked in flight.  Loop-local: all calls on the queue process's loop.  Of an active message all addresses
// are in memory; what Postfix's recipient limits bound is how many are resolved and scheduled.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/log.h"
#include "core/deliver/destination.h"
#include "core/deliver/postman.h"
#include "core/net/fiber.h"
#include "core/queue/control.h"
#include "core/queue/store.h"
#include "core/rewrite/router.h"

namespace millrace::deliver {

struct SchedulerRules {
  std::size_t active_limit = 20000, recipient_limit = 20000;
  std::size_t recipient_minimum = 10;         // qmgr_message_recipient_minimum
  std::chrono::seconds minimal_backoff{300}, maximal_backoff{4000}, run_delay{300};
  std::chrono::seconds lifetime{432000}, bounce_lifetime{432000}, delay_warning{0};
  std::string filter_nexthop;   // default_filter_nexthop
  bool soft_bounce = false;
  int delay_places = 2;                       // delay_logging_resolution_limit
  std::vector<std::string> defer_transports;
  std::chrono::seconds transport_retry{60}, clog_warn_time{300};
  std::chrono::milliseconds in_flow_delay{0};
  std::size_t in_flow_tokens = 100;           // default_process_limit
  // Mail for this local part in a local domain is thrown away: the senders of our notices and probes.
  std::function<bool(std::string_view user)> is_discarded = [](std::string_view) { return false; };
  bool log_feedback = false;                  // destination_concurrency_feedback_debug, or qmgr -v
  bool frozen = false;                        // master_service_disable names the queue manager
  std::function<Result<bool>(const std::string& domain)> flush_domains;   // fast_flush_domains; none: all
  log::Logger qmgr_log, error_log;
};

class Scheduler : public queue::SchedulerControl {
 public:
  // Makes a transport when it is first needed; never nullptr.
  using TransportMaker = std::function<std::unique_ptr<Transport>(const std::string& name)>;
  Scheduler(SchedulerRules rules, PostmanRules postman, queue::Store& store, const rewrite::Router& router,
            TransportMaker make_transport);
  ~Scheduler() override;

  // Takes over what the store holds, and begins to deliver.
  Result<void> start();
  // Ends: starts nothing new, waits for what runs until `deadline`, closes idle connections. [fiber]
  void stop(Deadline deadline);

  // Told of each attempt and recipient that was logged; verifications are not. [loop]
  using Observer = std::function<void(const Attempt& attempt, std::size_t position, WallMicros ended)>;
  void observe(Observer observer) { observer_ = std::move(observer); }

  // A message that was stored.  `content` may be nullptr (it is read when needed).
  void stored(queue::Entry entry, std::shared_ptr<const std::string> content);

  // Tries a message that is not stored, as far as its envelope's trace says; `done` gets what came of it, nothing when
  // it could not be tried.
  using ProbeDone = std::function<void(const std::vector<PassResult>&)>;
  void probe(queue::Entry entry, std::shared_ptr<const std::string> content, ProbeDone done);

  void flush_all() override;
  void flush(const std::string& queue_id) override;
  bool flush_site(const std::string& domain) override;
  bool is_active(const std::string& queue_id) override { return active_.contains(queue_id); }
  void removed(const std::string& queue_id) override;
  void changed(const std::string& queue_id) override;

  // How long new mail is to be put off before it is stored: in_flow_delay when the queue manager does not keep
  // up with what comes in, else 0.  To be asked once for each message.
  std::chrono::milliseconds flow_delay();

  std::size_t active_messages() const { return active_.size(); }
  std::size_t running() const { return workers_; }

 private:
  using MessagePtr = std::shared_ptr<ActiveMessage>;

  struct Place {
    std::string transport, nexthop, key;
    auto operator<=>(const Place&) const = default;
  };
  using Places = std::map<Place, std::vector<std::size_t>>;

  // Intake (scheduler_intake.cc).
  void fill();
  bool room() const;
  struct Due;
  bool next_due(Due& due);
  bool activate_id(const Due& due);
  void activate(queue::Entry entry, std::shared_ptr<const std::string> content, bool flushed);
  void set_out(const MessagePtr& message);
  void end_probe(const MessagePtr& message);
  void try_later(const MessagePtr& message);
  std::optional<Place> place_of(ActiveMessage& message, std::size_t recipient);
  bool swallow(ActiveMessage& message, std::size_t recipient, const rewrite::Route& route);
  std::size_t read(ActiveMessage& message, std::size_t most, Places& places);
  void read_all(const MessagePtr& message);
  void wait_for_room(ActiveMessage& message);
  std::size_t allowance(const ActiveMessage& message) const;
  void assign(const MessagePtr& message, Places& places);
  void wait_until(const std::string& queue_id, WallMicros when);
  void scan();
  void tick();

  // Delivery (scheduler_delivery.cc).
  Transport& transport(const std::string& name);
  void enqueue(const std::string& nexthop, const std::string& key, Batch batch);
  void dispatch(Transport& transport);
  bool begin(Transport& transport, Transport::Pick pick);
  void work(Transport& transport, Destination& destination, Batch batch);
  void rest(Transport& transport, Destination& destination);
  void at(TimePoint when, std::function<void()> what);
  void run_timers();
  void warn_of_clog(const Transport& transport, Destination& destination);
  void deliver(Transport& transport, Destination& destination, const Batch& batch, std::unique_ptr<Carry>& carry);
  bool mark(const MessagePtr& message);
  bool open_content(const MessagePtr& message, ContentView& view);
  void damaged(const MessagePtr& message, const Error& error);

  // Outcomes (scheduler.cc).
  void record(Transport& transport, Attempt& attempt, const Batch& batch);
  void feed_back(Transport& transport, Destination& destination, const Attempt& attempt);
  void note_feedback(const Transport& transport, const Destination& destination, const char* what) const;
  void fail_transport(Transport& transport, const Attempt& attempt);
  void suspend(Batch batch, const std::string& dsn, const std::string& reason);
  void run_suspended();
  void complete(const Batch& batch);
  void finish(const MessagePtr& message);
  void conclude(const MessagePtr& message, bool notices_sent, bool warned);
  std::chrono::seconds lifetime_of(const queue::Entry& entry) const;
  bool background(std::function<void()> body);   // a fiber that stop() waits for

  // Requests (scheduler_requests.cc).
  void flush_sites();
  void revive(const std::function<bool(const Destination&)>& which);

  SchedulerRules rules_;
  Observer observer_;
  queue::Store& store_;
  const rewrite::Router& router_;
  TransportMaker make_transport_;
  Postman postman_;

  std::map<std::string, std::unique_ptr<Transport>> transports_;
  std::unordered_map<std::string, MessagePtr> active_;
  // Recipients in batches; all of active messages; bytes of content.
  std::size_t active_recipients_ = 0, loaded_recipients_ = 0, content_bytes_ = 0;
  std::size_t flow_tokens_ = 0;

  // What waits.  `when` is the next_attempt of the message as stored: one that was tried meanwhile has
  // another, which is how a stale entry is known; nothing is ever looked for and taken out.
  struct Waiting {
    WallMicros when;
    std::string queue_id;
    bool operator<(const Waiting& other) const { return when > other.when; }   // earliest on top of the heap
  };
  struct Due {
    std::string queue_id;
    WallMicros when = kAnyTime;   // must be the stored one
    bool flushed = false;
  };
  static constexpr WallMicros kAnyTime = -1;
  std::deque<std::string> incoming_;                    // in turn with the due ones
  std::deque<Due> due_;
  std::vector<Waiting> deferred_;                       // a heap
  std::vector<Waiting> flushing_;                       // after due_, in no order
  TimePoint next_scan_{};
  bool from_due_ = false, filling_ = false;

  std::set<std::string> sites_;                         // to be flushed
  bool flushing_sites_ = false;

  struct Suspended {
    Batch batch;
    std::string dsn, reason;
  };
  std::deque<Suspended> suspended_;
  std::size_t suspenders_ = 0;

  std::multimap<TimePoint, std::function<void()>> timers_;
  net::Event timers_changed_;
  bool timing_ = false;

  std::size_t workers_ = 0;
  bool started_ = false, stopping_ = false;
  net::Event changed_;                                  // a worker ended, while stopping
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace millrace::deliver
