// The scheduler's middle: deliveries begin, end, and give their place to the next.
#include "core/base/assert.h"
#include "core/deliver/scheduler.h"
#include "core/mime/verp.h"

#include <fmt/format.h>

namespace millrace::deliver {

Transport& Scheduler::transport(const std::string& name) {
  auto& slot = transports_[name];
  if (slot == nullptr) slot = make_transport_(name);
  return *slot;
}

void Scheduler::enqueue(const std::string& nexthop, const std::string& key, Batch batch) {
  Transport& transport = *batch.transport;
  const TimePoint now = SteadyClock::now();
  if (transport.failed_until > now) {
    transport.recipients += batch.recipients.size();
    return suspend(std::move(batch), "4.3.0", "mail transport unavailable");
  }
  Destination& destination = transport.destination(key, nexthop);
  if (destination.window.dead()) {
    if (now < destination.dead_until) {
      transport.recipients += batch.recipients.size();
      return suspend(std::move(batch), destination.dead_dsn, destination.dead_reason);
    }
    destination.window.revive();
  }
  transport.add(destination, std::move(batch));
}

void Scheduler::dispatch(Transport& transport) {
  while (!stopping_) {
    auto pick = transport.pick();
    if (!pick || !begin(transport, std::move(*pick))) return;
  }
}

bool Scheduler::begin(Transport& transport, Transport::Pick pick) {
  Destination& destination = *pick.destination;
  warn_of_clog(transport, destination);
  if (background([this, &transport, &destination, batch = pick.batch] { work(transport, destination, batch); })) return true;
  // No stack to be had: the ticker tries again.
  transport.leave(destination);
  transport.recipients -= pick.batch.recipients.size();
  transport.add(destination, std::move(pick.batch));
  return false;
}

// One worker: a place in the transport and in the destination, and the connection that goes with it.
void Scheduler::work(Transport& transport, Destination& destination, Batch batch) {
  std::unique_ptr<Carry> carry;
  for (;;) {
    deliver(transport, destination, batch, carry);
    rest(transport, destination);
    transport.leave(destination);
    // Another destination's turn: it gets the place when the connection is out of the way.
    if (stopping_ || transport.next() != &destination) break;
    batch = std::move(transport.pick()->batch);
    warn_of_clog(transport, destination);
    dispatch(transport);   // the window may have grown by more than this worker's own place
  }
  batch = {};
  // The place is kept until the connection is closed or put by: the next hop may count connections.
  transport.occupy(destination);
  transport.agent->release(destination.nexthop, std::move(carry), destination.is_busy());
  transport.leave(destination);
  transport.forget_idle(destination);
  dispatch(transport);
}

// The pauses of …_destination_rate_delay and …_transport_rate_delay begin when a delivery ends.
void Scheduler::rest(Transport& transport, Destination& destination) {
  const TimePoint now = SteadyClock::now();
  if (transport.limits.rate_delay.count() > 0 && !destination.window.dead() && !destination.resting) {
    destination.resting = true;
    at(now + transport.limits.rate_delay, [this, &transport, key = destination.key] {
      const auto found = transport.destinations.find(key);
      if (found == transport.destinations.end()) return;
      found->second->resting = false;
      transport.update(*found->second);
      transport.forget_idle(*found->second);
      dispatch(transport);
    });
  }
  if (transport.limits.transport_delay.count() > 0 && !transport.resting) {
    transport.resting = true;
    at(now + transport.limits.transport_delay, [this, &transport] {
      transport.resting = false;
      dispatch(transport);
    });
  }
}

// Runs `what` on the loop at that time, on the fiber of the timers: it must not wait.
void Scheduler::at(TimePoint when, std::function<void()> what) {
  const bool first = timers_.empty() || when < timers_.begin()->first;
  timers_.emplace(when, std::move(what));
  if (first) timers_changed_.set();
}

void Scheduler::run_timers() {
  while (!stopping_) {
    timers_changed_.reset();
    const auto woken = timers_changed_.wait(timers_.empty() ? Deadline::never() : Deadline{timers_.begin()->first});
    if (!woken && woken.error().code != Errc::timeout) return;
    const TimePoint now = SteadyClock::now();
    while (!stopping_ && !timers_.empty() && timers_.begin()->first <= now) {
      const auto what = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      what();
    }
  }
}

// qmgr_clog_warn_time: mail for one destination that takes up a fifth of the active queue.
void Scheduler::warn_of_clog(const Transport& transport, Destination& destination) {
  const std::size_t length = destination.waiting + destination.busy;
  if (rules_.clog_warn_time.count() == 0 || length <= rules_.active_limit / 5) return;
  const TimePoint now = SteadyClock::now();
  if (now < destination.next_clog_warning) return;
  destination.next_clog_warning = now + rules_.clog_warn_time;
  const log::Logger& log = rules_.qmgr_log;
  log.warning(fmt::format("mail for {} is using up {} of {} active queue entries", destination.nexthop, length, active_.size()));
  if (length < active_.size() / 10 * 9) log.warning("this may slow down other mail deliveries");
  const std::size_t limit = transport.limits.concurrency.limit;
  if (limit > 0 && limit <= destination.busy) {
    log.warning(fmt::format("you may need to increase the main.cf {}_destination_concurrency_limit from {}", transport.name, limit));
  } else if (destination.window.size() < destination.busy + transport.limits.concurrency.initial && !deferred_.empty()) {
    log.warning("flushing the whole queue when there is much deferred mail is bad for performance");
  }
  log.warning("to turn off these warnings specify: qmgr_clog_warn_time = 0");
}

void Scheduler::deliver(Transport& transport, Destination& destination, const Batch& batch, std::unique_ptr<Carry>& carry) {
  const MessagePtr message = batch.message;
  ContentView view;
  if (message->withdrawn || !mark(message) || !open_content(message, view)) return complete(batch);

  Attempt attempt;
  attempt.entry = &message->entry;
  attempt.recipients = batch.recipients;
  attempt.nexthop = destination.nexthop;
  if (!message->entry.envelope.verp.empty()) {
    const mime::Recipient& recipient = attempt.recipient(0);   // the only one (assign())
    attempt.verp_sender = mime::verp_sender(message->entry.envelope.sender, message->entry.envelope.verp,
                                            recipient.original.empty() ? recipient.address : recipient.original);
  }
  attempt.content = std::move(view);
  attempt.active = message->active;
  attempt.started = wall_now();
  deliver_or_verify(*transport.agent, transport.name, attempt, carry);
  MR_ASSERT(attempt.outcomes.size() == batch.recipients.size());

  destination.count_end();
  record(transport, attempt, batch);
  feed_back(transport, destination, attempt);
  complete(batch);
}

// So that a message that kills this process is found out (core/queue/in_flight.h).
bool Scheduler::mark(const MessagePtr& message) {
  if (message->marked || message->probed) return true;
  const auto marked = store_.mark_in_flight(std::span(&message->id(), 1));
  if (!marked) rules_.qmgr_log.warning(message->id() + ": " + marked.error().context);
  message->marked = marked.has_value();
  return message->marked;
}

bool Scheduler::open_content(const MessagePtr& message, ContentView& view) {
  if (message->content == nullptr && message->file == nullptr) {
    auto content = store_.open_content(message->id());
    if (!content) {
      damaged(message, content.error());
      return false;
    }
    message->file = std::make_shared<queue::Content>(std::move(*content));
  }
  view.memory = message->content != nullptr ? message->content.get() : message->file->memory();
  view.size = message->content != nullptr ? message->content->size() : message->file->size();
  if (message->file != nullptr) {
    view.read_at = [file = message->file](std::uint64_t at, std::span<char> out) { return file->read_at(at, out); };
  }
  return true;
}

void Scheduler::damaged(const MessagePtr& message, const Error& error) {
  if (error.code == Errc::protocol) {
    message->withdrawn = true;
    store_.set_corrupt(message->id(), error.context);
  } else if (error.code == Errc::not_found) {
    message->withdrawn = true;   // deleted meanwhile
  } else {
    rules_.qmgr_log.warning(message->id() + ": " + error.context);   // stays, and is deferred
  }
}

}  // namespace millrace::deliver
