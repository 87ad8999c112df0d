// Delivery as the daemon sees it: one object in the queue process that takes stored messages and gets
// rid of them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/config/config.h"
#include "core/deliver/scheduler.h"
#include "core/deliver/verifier.h"
#include "core/map/table.h"
#include "core/net/dns.h"
#include "core/queue/control.h"
#include "core/queue/store.h"
#include "core/rewrite/router.h"

namespace millrace::deliver {

class Engine {
 public:
  // Makes the agent of a service that this module has none for (pipe, local, virtual); nullptr: there is none,
  // its mail waits with 4.3.0.
  using AgentMaker = std::function<Result<std::unique_ptr<Agent>>(const config::Service&, const log::Logger&)>;

  // Reads the parameters of all transports in master.cf and opens their tables and TLS files; nothing is
  // started.  Errors: config, naming service and parameter.  `tables` is used here alone; the others
  // outlive the engine.  On the queue process's loop thread.
  static Result<std::unique_ptr<Engine>> make(std::shared_ptr<const config::Config> config, queue::Store& store,
                                              std::shared_ptr<const rewrite::Router> router,
                                              net::Resolver& resolver, map::TableSet& tables,
                                              AgentMaker make_foreign = nullptr, NoticeInspection inspect = {});
  ~Engine();

  // Takes over what the store holds.  Errors: of the store.
  Result<void> start() { return scheduler_->start(); }
  // Starts nothing new, lets what runs end until `deadline`, says QUIT to idle servers.  Then the store
  // may be closed.  With deliveries still running() the process must end without destroying the engine:
  // their fibers use it. [fiber]
  void stop(Deadline deadline) { scheduler_->stop(deadline); }
  std::size_t running() const { return scheduler_->running(); }

  // After Store::add().  `content` may be nullptr.
  void stored(queue::Entry entry, std::shared_ptr<const std::string> content) {
    scheduler_->stored(std::move(entry), std::move(content));
  }
  void observe(Scheduler::Observer observer) { scheduler_->observe(std::move(observer)); }
  std::chrono::milliseconds flow_delay() { return scheduler_->flow_delay(); }
  // Delivers by the transport of that name now, in place of the agent that asks (mailbox_transport); all
  // outcomes are set. [fiber]
  void deliver_through(const std::string& transport, Attempt& attempt);
  // Where results of address verification are kept over a restart, when address_verify_map wants that.  Before start().
  bool wants_state() const { return wants_state_; }
  void use_state(std::shared_ptr<kv::Store> state) { verifier_->use_cache(std::move(state)); }
  // What is known of an address; see verifier.h.  [fiber]
  Result<smtp::Verified> verify(const std::string& address, std::chrono::seconds wait) {
    return verifier_->verify(address, wait);
  }

  queue::SchedulerControl& control() { return *scheduler_; }

 private:
  Engine() = default;
  struct Parts;
  std::unique_ptr<Parts> parts_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Verifier> verifier_;
  bool wants_state_ = false;
};

}  // namespace millrace::deliver
