#include "core/deliver/scheduler.h"

#include <algorithm>

#include "core/base/assert.h"
#include "core/deliver/report.h"

namespace millrace::deliver {

namespace {
WallMicros micros(std::chrono::seconds span) { return std::chrono::duration_cast<std::chrono::microseconds>(span).count(); }
}  // namespace

Scheduler::Scheduler(SchedulerRules rules, PostmanRules postman, queue::Store& store, const rewrite::Router& router,
                     TransportMaker make_transport)
    : rules_(std::move(rules)), store_(store), router_(router), make_transport_(std::move(make_transport)),
      postman_(std::move(postman), store, router,
               [this](queue::Entry entry, std::shared_ptr<const std::string> content) {
                 stored(std::move(entry), std::move(content));
               }) {}

Scheduler::~Scheduler() { *alive_ = false; }

void Scheduler::stop(Deadline deadline) {
  stopping_ = true;
  while (workers_ > 0) {
    changed_.reset();
    if (!changed_.wait(deadline)) break;
  }
  for (auto& [name, transport] : transports_) transport->agent->stop();
}

bool Scheduler::background(std::function<void()> body) {
  ++workers_;
  const auto ok = net::Loop::current().spawn(net::Stack::session, [this, alive = alive_, body = std::move(body)] {
    body();
    if (!*alive) return;
    --workers_;
    if (stopping_) changed_.set();
  });
  if (!ok) --workers_;
  return ok.has_value();
}

Transport& Scheduler::transport(const std::string& name) {
  auto& slot = transports_[name];
  if (slot == nullptr) slot = make_transport_(name);
  return *slot;
}

void Scheduler::enqueue(Transport& transport, const std::string& nexthop, const std::string& key, Job job) {
  Destination& destination = transport.destination(key, nexthop);
  if (destination.window.dead()) {
    if (SteadyClock::now() < destination.dead_until) {
      return suspend(std::move(job), destination.dead_dsn, destination.dead_reason);
    }
    destination.window.revive();
  }
  destination.jobs.push_back(std::move(job));
  transport.enter_ring(destination);
  dispatch(transport);
}

void Scheduler::dispatch(Transport& transport) {
  const TimePoint now = SteadyClock::now();
  while (!stopping_) {
    Destination* const destination = transport.next_ready(now);
    if (destination == nullptr) return;
    Job job = std::move(destination->jobs.front());
    destination->jobs.pop_front();
    ++transport.busy;
    ++destination->busy;
    if (transport.limits.rate_delay.count() > 0) destination->not_before = now + transport.limits.rate_delay;
    Job again = job;
    const bool started = background([this, &transport, destination, job = std::move(job)] {
      work(transport, *destination, job);
    });
    if (!started) {
      // No stack to be had: the ticker tries again.
      --transport.busy;
      --destination->busy;
      destination->jobs.push_front(std::move(again));
      transport.enter_ring(*destination);
      return;
    }
  }
}

bool Scheduler::next_job(Transport& transport, Destination& destination, Job& job) {
  if (stopping_ || destination.jobs.empty() || destination.busy > destination.window.size()) return false;
  if (transport.limits.rate_delay.count() > 0 || transport.others_wait(destination)) return false;
  job = std::move(destination.jobs.front());
  destination.jobs.pop_front();
  return true;
}

// One worker: a place in the transport and in the destination, and the connection that goes with it.
void Scheduler::work(Transport& transport, Destination& destination, Job job) {
  std::unique_ptr<Carry> carry;
  do {
    deliver(transport, destination, job, carry);
  } while (next_job(transport, destination, job));
  job = {};
  transport.agent->release(destination.nexthop, std::move(carry), destination.is_busy());
  --transport.busy;
  --destination.busy;
  transport.forget_idle(destination);
  dispatch(transport);
}

void Scheduler::deliver(Transport& transport, Destination& destination, const Job& job, std::unique_ptr<Carry>& carry) {
  const MessagePtr message = job.message;
  ContentView view;
  if (message->withdrawn || !mark(message) || !open_content(message, view)) return complete(job);

  Attempt attempt;
  attempt.entry = &message->entry;
  attempt.recipients = job.recipients;
  attempt.nexthop = destination.nexthop;
  attempt.content = std::move(view);
  attempt.active = message->active;
  attempt.started = wall_now();
  transport.agent->deliver(attempt, carry);
  MR_ASSERT(attempt.outcomes.size() == job.recipients.size());

  destination.count_end();
  record(transport, attempt, job);
  feed_back(destination, attempt);
  complete(job);
}

// So that a message that kills this process is found out (core/queue/in_flight.h).
bool Scheduler::mark(const MessagePtr& message) {
  if (message->marked) return true;
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

void Scheduler::record(Transport& transport, Attempt& attempt, const Job& job) {
  const WallMicros ended = wall_now();
  for (std::size_t i = 0; i < attempt.outcomes.size(); ++i) {
    Outcome& outcome = attempt.outcomes[i];
    MR_ASSERT(outcome.status != Outcome::Status::pending);
    const char* status = "sent";
    if (outcome.status == Outcome::Status::deferred) status = "deferred";
    if (outcome.status == Outcome::Status::bounced) status = "bounced";
    if (outcome.status == Outcome::Status::bounced && rules_.soft_bounce) {
      outcome.status = Outcome::Status::deferred;
      if (!outcome.dsn.empty()) outcome.dsn[0] = '4';
      status = "SOFTBOUNCE";
    }
    const log::Logger& log = attempt.logged_by ? *attempt.logged_by : transport.log;
    log.info(recipient_line(attempt, i, ended, rules_.delay_places, status));
    job.message->results.push_back({job.recipients[i], outcome});
  }
}

void Scheduler::feed_back(Destination& destination, const Attempt& attempt) {
  if (!attempt.site_trouble) return destination.window.success(destination.busy);
  const bool was_dead = destination.window.dead();
  destination.window.failure();
  if (!destination.window.dead() || was_dead) return;
  destination.dead_until = SteadyClock::now() + rules_.minimal_backoff;
  for (const Outcome& outcome : attempt.outcomes) {
    if (outcome.status != Outcome::Status::deferred) continue;
    destination.dead_dsn = outcome.dsn;
    destination.dead_reason = "delivery temporarily suspended: " + outcome.text;
  }
  if (destination.dead_dsn.empty()) destination.dead_dsn = "4.4.1";
  std::deque<Job> jobs = std::move(destination.jobs);
  destination.jobs.clear();
  for (Job& job : jobs) suspend(std::move(job), destination.dead_dsn, destination.dead_reason);
}

// Jobs of dead destinations end without an attempt, on one fiber for all.
void Scheduler::suspend(Job job, const std::string& dsn, const std::string& reason) {
  suspended_.push_back({std::move(job), dsn, reason});
  if (suspending_) return;
  suspending_ = background([this] { run_suspended(); });
}

void Scheduler::run_suspended() {
  while (!suspended_.empty()) {
    const Suspended one = std::move(suspended_.front());
    suspended_.pop_front();
    Attempt attempt;
    attempt.entry = &one.job.message->entry;
    attempt.recipients = one.job.recipients;
    attempt.active = one.job.message->active;
    attempt.started = attempt.connected = wall_now();
    attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
    attempt.all_pending(Outcome::Status::deferred, one.dsn, one.reason);
    for (std::size_t i = 0; i < attempt.outcomes.size() && !one.job.message->withdrawn; ++i) {
      rules_.error_log.info(recipient_line(attempt, i, wall_now(), rules_.delay_places, "deferred"));
      one.job.message->results.push_back({one.job.recipients[i], attempt.outcomes[i]});
    }
    complete(one.job);
  }
  suspending_ = false;
}

void Scheduler::complete(const Job& job) {
  const MessagePtr& message = job.message;
  MR_ASSERT(message->open_jobs > 0);
  if (--message->open_jobs == 0) return finish(message);
  if (message->withdrawn) return;
  // Others of this message are still on their way: what was delivered must not be delivered again after
  // a crash.  What bounced is struck off only with the notice.
  queue::Update update;
  update.queue_id = message->id();
  for (const PassResult& result : message->results) {
    queue::RecipientState& state = message->entry.recipients[result.recipient];
    if (result.outcome.status != Outcome::Status::sent || state.done) continue;
    state.done = true;
    update.recipients.emplace_back(result.recipient, state);
  }
  if (!update.recipients.empty()) store_.apply_later(std::move(update));
}

std::chrono::seconds Scheduler::lifetime_of(const queue::Entry& entry) const {
  return entry.envelope.sender.empty() ? rules_.bounce_lifetime : rules_.lifetime;
}

// The pass over a message is at its end: who gets a notice, and does the message stay?
void Scheduler::finish(const MessagePtr& message) {
  queue::Entry& entry = message->entry;
  bool sent_notices = true, warned = false;
  if (!message->withdrawn) {
    const WallMicros age = wall_now() - entry.envelope.arrival;
    const bool expired = entry.forced_expire || age >= micros(lifetime_of(entry));
    Postman::Story story;
    story.entry = &entry;
    bool any_deferred = false;
    for (const PassResult& result : message->results) {
      const Outcome& outcome = result.outcome;
      queue::RecipientState& state = entry.recipients[result.recipient];
      state.dsn = outcome.dsn;
      state.reason = outcome.text;
      state.remote_mta = outcome.remote_mta;
      state.diagnostic = outcome.diagnostic;
      if (outcome.status == Outcome::Status::sent) {
        state.action = outcome.last_hop ? "delivered" : "relayed";
        if (!outcome.next_hop_reports) story.succeeded.push_back(result.recipient);
      } else if (outcome.status == Outcome::Status::bounced || expired) {
        state.action = "failed";
        story.failed.push_back(result.recipient);
        any_deferred = any_deferred || outcome.status == Outcome::Status::deferred;
      } else {
        state.action = "delayed";
        story.delayed.push_back(result.recipient);
      }
    }
    if (any_deferred) {
      rules_.qmgr_log.info(message->id() + ": from=<" + entry.envelope.sender + ">, status=" +
                           (entry.forced_expire ? "force-expired" : "expired") + ", returned to sender");
    }
    warned = !story.delayed.empty() && !entry.delay_warned && rules_.delay_warning.count() > 0 &&
             age >= micros(rules_.delay_warning);
    if (!warned) story.delayed.clear();
    if (!story.failed.empty() || !story.delayed.empty() || !story.succeeded.empty()) {
      queue::Content kept(message->content);
      ContentView ignored;
      const queue::Content* content = &kept;
      if (message->content == nullptr) content = open_content(message, ignored) ? message->file.get() : nullptr;
      story.content = content;
      if (auto ok = postman_.send(story); !ok) {
        rules_.qmgr_log.warning(message->id() + ": notice not stored: " + ok.error().context);
        sent_notices = warned = false;
      }
    }
  }
  conclude(message, sent_notices, warned);
}

void Scheduler::conclude(const MessagePtr& message, bool notices_sent, bool warned) {
  queue::Entry& entry = message->entry;
  const bool gone = message->withdrawn && entry.queue != queue::QueueName::hold;   // deleted or damaged
  queue::Update update;
  update.queue_id = message->id();
  for (const PassResult& result : message->results) {
    queue::RecipientState& state = entry.recipients[result.recipient];
    const bool failed = state.action == "failed";
    state.done = state.done || result.outcome.status == Outcome::Status::sent || (failed && notices_sent);
    update.recipients.emplace_back(result.recipient, state);
  }
  const bool all_done = std::all_of(entry.recipients.begin(), entry.recipients.end(),
                                    [](const queue::RecipientState& one) { return one.done; });
  std::optional<WallMicros> next;
  if (!gone && all_done) {
    update.recipients.clear();
    update.remove = true;
    rules_.qmgr_log.info(message->id() + ": removed");
    store_.apply_later(std::move(update));
  } else if (!gone) {
    const WallMicros now = wall_now();
    const WallMicros age = std::max<WallMicros>(now - entry.envelope.arrival, 0);
    next = now + std::clamp(age, micros(rules_.minimal_backoff),
                            std::max(micros(rules_.minimal_backoff), micros(rules_.maximal_backoff)));
    if (message->withdrawn) {
      next.reset();   // on hold: only what was delivered is noted
    } else {
      update.queue = queue::QueueName::deferred;
      update.next_attempt = next;
      update.attempts = entry.attempts + 1;
      if (warned) update.delay_warned = true;
    }
    // Waited for: until the commit load() would show recipients that are done as open.
    if (auto written = store_.apply(std::move(update)); !written) {
      rules_.qmgr_log.warning(message->id() + ": " + written.error().context);
    }
  }
  if (message->content != nullptr) content_bytes_ -= message->content->size();
  active_recipients_ -= std::min(active_recipients_, message->active_recipients);
  active_.erase(message->id());
  if (next) wait_until(message->id(), *next);
  fill();
}

}  // namespace millrace::deliver
