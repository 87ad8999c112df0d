// The queue manager: which message is tried when, and how many deliveries run where (qmgr(8),
// SCHEDULER_README).
//
// Promise: at most qmgr_message_active_limit messages are in memory, the others as an id and a time;
// destinations of a transport take turns; a recipient is struck off only after the next hop took it or
// the notice about it is stored; before an attempt the message is marked in flight.  Loop-local: all
// calls on the queue process's loop.  Postfix's preemption between messages of one destination is not
// here: their jobs are served in order of arrival.
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
  std::chrono::seconds minimal_backoff{300}, maximal_backoff{4000}, run_delay{300};
  std::chrono::seconds lifetime{432000}, bounce_lifetime{432000}, delay_warning{0};
  std::string filter_nexthop;   // default_filter_nexthop
  bool soft_bounce = false;
  int delay_places = 2;                       // delay_logging_resolution_limit
  std::vector<std::string> defer_transports;
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

  // A message that was stored.  `content` may be nullptr (it is read when needed).
  void stored(queue::Entry entry, std::shared_ptr<const std::string> content);

  void flush_all() override;
  void flush(const std::string& queue_id) override;
  void flush_site(const std::string& domain) override;
  bool is_active(const std::string& queue_id) override { return active_.contains(queue_id); }
  void removed(const std::string& queue_id) override;
  void changed(const std::string& queue_id) override;

  std::size_t active_messages() const { return active_.size(); }
  std::size_t running() const { return workers_; }

 private:
  using MessagePtr = std::shared_ptr<ActiveMessage>;

  // Intake (scheduler_intake.cc).
  void fill();
  bool room() const;
  bool activate_id(const std::string& queue_id);
  void activate(queue::Entry entry, std::shared_ptr<const std::string> content);
  void route(const MessagePtr& message);
  void wait_until(const std::string& queue_id, WallMicros when);
  void forget_waiting(const std::string& queue_id);
  void scan();
  void tick();
  void spawn_ticker();

  // Delivery (scheduler.cc).
  Transport& transport(const std::string& name);
  void enqueue(Transport& transport, const std::string& nexthop, const std::string& key, Job job);
  void dispatch(Transport& transport);
  void work(Transport& transport, Destination& destination, Job job);
  bool next_job(Transport& transport, Destination& destination, Job& job);
  void deliver(Transport& transport, Destination& destination, const Job& job, std::unique_ptr<Carry>& carry);
  bool mark(const MessagePtr& message);
  bool open_content(const MessagePtr& message, ContentView& view);
  void damaged(const MessagePtr& message, const Error& error);
  void record(Transport& transport, Attempt& attempt, const Job& job);
  void feed_back(Destination& destination, const Attempt& attempt);
  void suspend(Job job, const std::string& dsn, const std::string& reason);
  void run_suspended();
  void complete(const Job& job);
  void finish(const MessagePtr& message);
  void conclude(const MessagePtr& message, bool notices_sent, bool warned);
  std::chrono::seconds lifetime_of(const queue::Entry& entry) const;
  bool background(std::function<void()> body);   // a fiber that stop() waits for

  SchedulerRules rules_;
  queue::Store& store_;
  const rewrite::Router& router_;
  TransportMaker make_transport_;
  Postman postman_;

  std::map<std::string, std::unique_ptr<Transport>> transports_;
  std::unordered_map<std::string, MessagePtr> active_;
  std::size_t active_recipients_ = 0, content_bytes_ = 0;

  std::deque<std::string> incoming_, due_;              // ids to become active, in turn
  std::set<std::pair<WallMicros, std::string>> deferred_;
  std::unordered_map<std::string, WallMicros> deferred_at_;
  TimePoint next_scan_{};
  bool from_due_ = false, filling_ = false;

  struct Suspended {
    Job job;
    std::string dsn, reason;
  };
  std::deque<Suspended> suspended_;
  bool suspending_ = false;

  std::size_t workers_ = 0;
  bool started_ = false, stopping_ = false;
  net::Event changed_;                                  // a worker ended, while stopping
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace millrace::deliver
