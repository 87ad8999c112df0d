// The scheduler's back end: what became of a delivery, and of a message when its pass is over.
#include "core/deliver/scheduler.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/assert.h"
#include "core/deliver/report.h"

namespace millrace::deliver {

namespace {
constexpr char kUnavailableDsn[] = "4.3.0", kUnavailable[] = "mail transport unavailable";
constexpr std::size_t kMostSuspenders = 50;

WallMicros micros(std::chrono::seconds span) { return std::chrono::duration_cast<std::chrono::microseconds>(span).count(); }

// In the log line of a recipient; pflogsumm and others read it.
const char* status_word(Outcome::Status status, bool verify_only) {
  if (verify_only) return status == Outcome::Status::sent ? "deliverable" : "undeliverable";
  switch (status) {
    case Outcome::Status::deferred: return "deferred";
    case Outcome::Status::bounced: return "bounced";
    case Outcome::Status::sent:
    case Outcome::Status::pending: break;
  }
  return "sent";
}

void take_over(const Outcome& outcome, queue::RecipientState& state) {
  state.dsn = outcome.dsn;
  state.reason = outcome.text;
  state.remote_mta = outcome.remote_mta;
  state.diagnostic = outcome.diagnostic;
  const bool sent = outcome.status == Outcome::Status::sent;
  state.action = !sent ? "delayed" : outcome.last_hop ? "delivered" : "relayed";
}
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
  for (auto& [id, message] : active_) {
    if (message->wants_more) message->wants_more->set();
  }
  timers_changed_.set();
  while (workers_ > 0 || timing_) {
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

void Scheduler::record(Transport& transport, Attempt& attempt, const Batch& batch) {
  const WallMicros ended = wall_now();
  for (std::size_t i = 0; i < attempt.outcomes.size(); ++i) {
    Outcome& outcome = attempt.outcomes[i];
    MR_ASSERT(outcome.status != Outcome::Status::pending);
    const char* status = status_word(outcome.status, attempt.verify_only());
    if (outcome.status == Outcome::Status::bounced && rules_.soft_bounce && !attempt.verify_only()) {
      outcome.status = Outcome::Status::deferred;
      if (!outcome.dsn.empty()) outcome.dsn[0] = '4';
      status = "SOFTBOUNCE";
    }
    const log::Logger& log = attempt.logged_by ? *attempt.logged_by : transport.log;
    log.info(recipient_line(attempt, i, ended, rules_.delay_places, status));
    if (observer_ && !attempt.verify_only()) observer_(attempt, i, ended);
    batch.message->results.push_back({batch.recipients[i], outcome});
  }
  if (batch.message->entry.envelope.trace == mime::Trace::none) return;
  for (auto& [position, outcome] : attempt.others) batch.message->others.push_back({batch.recipients[position], std::move(outcome)});
}

void Scheduler::feed_back(Transport& transport, Destination& destination, const Attempt& attempt) {
  if (attempt.transport_trouble) return fail_transport(transport, attempt);
  if (!attempt.site_trouble) {
    destination.window.success(destination.busy);
    return note_feedback(transport, destination, "success");
  }
  const bool was_dead = destination.window.dead();
  destination.window.failure();
  note_feedback(transport, destination, "failure");
  if (!destination.window.dead() || was_dead) return;
  destination.dead_until = SteadyClock::now() + rules_.minimal_backoff;
  for (const Outcome& outcome : attempt.outcomes) {
    if (outcome.status != Outcome::Status::deferred) continue;
    destination.dead_dsn = outcome.dsn;
    destination.dead_reason = "delivery temporarily suspended: " + outcome.text;
  }
  if (destination.dead_dsn.empty()) destination.dead_dsn = "4.4.1";
  for (Batch& batch : transport.take_all(destination)) suspend(std::move(batch), destination.dead_dsn, destination.dead_reason);
}

// destination_concurrency_feedback_debug
void Scheduler::note_feedback(const Transport& transport, const Destination& destination, const char* what) const {
  if (!rules_.log_feedback) return;
  const ConcurrencyWindow& window = destination.window;
  rules_.qmgr_log.info(fmt::format("{}: queue {}/{}: limit {} window {} busy {} success {:g} failure {:g} fail_cohorts {:g}", what,
                                   transport.name, destination.key, transport.limits.concurrency.limit, window.size(),
                                   destination.busy, window.good(), window.bad(), window.cohorts()));
}

// The agent itself is out of order: its mail waits until transport_retry_time has passed.
void Scheduler::fail_transport(Transport& transport, const Attempt& attempt) {
  const TimePoint now = SteadyClock::now();
  if (transport.failed_until > now) return;
  rules_.qmgr_log.warning("transport " + transport.name + " failure: " + attempt.outcomes.front().text);
  transport.failed_until = now + rules_.transport_retry;
  for (auto& [key, destination] : transport.destinations) {
    for (Batch& batch : transport.take_all(*destination)) suspend(std::move(batch), kUnavailableDsn, kUnavailable);
  }
}

// Batches for which nothing is tried end on fibers of their own: each waits for a commit, and many share one.
void Scheduler::suspend(Batch batch, const std::string& dsn, const std::string& reason) {
  suspended_.push_back({std::move(batch), dsn, reason});
  if (suspenders_ >= kMostSuspenders || (suspenders_ > 0 && suspended_.size() < suspenders_ * 4)) return;
  if (background([this] { run_suspended(); })) ++suspenders_;
}

void Scheduler::run_suspended() {
  while (!suspended_.empty()) {
    const Suspended one = std::move(suspended_.front());
    suspended_.pop_front();
    Attempt attempt;
    attempt.entry = &one.batch.message->entry;
    attempt.recipients = one.batch.recipients;
    attempt.active = one.batch.message->active;
    attempt.started = attempt.connected = wall_now();
    attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
    attempt.all_pending(Outcome::Status::deferred, one.dsn, one.reason);
    for (std::size_t i = 0; i < attempt.outcomes.size() && !one.batch.message->withdrawn; ++i) {
      rules_.error_log.info(recipient_line(attempt, i, wall_now(), rules_.delay_places,
                                          status_word(Outcome::Status::deferred, attempt.verify_only())));
      if (observer_ && !attempt.verify_only()) observer_(attempt, i, wall_now());
      one.batch.message->results.push_back({one.batch.recipients[i], attempt.outcomes[i]});
    }
    complete(one.batch);
  }
  --suspenders_;
}

void Scheduler::complete(const Batch& batch) {
  const MessagePtr& message = batch.message;
  const std::size_t count = batch.recipients.size();
  MR_ASSERT(message->open_batches > 0 && message->in_memory >= count && active_recipients_ >= count);
  message->in_memory -= count;
  active_recipients_ -= count;
  batch.transport->recipients -= count;
  if (message->wants_more && message->in_memory <= message->refill_at) message->wants_more->set();
  if (--message->open_batches == 0 && message->unread == 0) return finish(message);
  if (message->withdrawn || message->probed) return;
  // Others of this message are still on their way: what was delivered must not be delivered again after
  // a crash.  What bounced is struck off only with the notice.
  queue::Update update;
  update.queue_id = message->id();
  for (; message->noted < message->results.size(); ++message->noted) {
    const PassResult& result = message->results[message->noted];
    queue::RecipientState& state = message->entry.recipients[result.recipient];
    if (result.outcome.status == Outcome::Status::bounced) continue;
    take_over(result.outcome, state);
    state.done = state.done || result.outcome.status == Outcome::Status::sent;
    update.recipients.emplace_back(result.recipient, state);
  }
  if (!update.recipients.empty()) store_.apply_later(std::move(update));
}

std::chrono::seconds Scheduler::lifetime_of(const queue::Entry& entry) const {
  return entry.envelope.sender.empty() ? rules_.bounce_lifetime : rules_.lifetime;
}

// The pass over a message is at its end: who gets a notice, and does the message stay?
void Scheduler::finish(const MessagePtr& message) {
  if (message->probed) return end_probe(message);
  queue::Entry& entry = message->entry;
  bool sent_notices = true, warned = false;
  if (!message->withdrawn) {
    const WallMicros age = wall_now() - entry.envelope.arrival;
    const bool expired = entry.forced_expire || age >= micros(lifetime_of(entry));
    Postman::Story story;
    story.entry = &entry;
    story.first_pass = entry.attempts == 0;
    // The report of a traced message is about its first attempt.
    const bool traced = story.first_pass || entry.envelope.trace == mime::Trace::verify;
    const mime::Trace trace = traced ? entry.envelope.trace : mime::Trace::none;
    bool any_deferred = false;
    for (const PassResult& result : message->results) {
      const Outcome& outcome = result.outcome;
      queue::RecipientState& state = entry.recipients[result.recipient];
      take_over(outcome, state);
      if (trace != mime::Trace::none) story.traced.push_back({result.recipient, outcome.relay, false, &outcome});
      if (trace == mime::Trace::verify) {
        state.action = outcome.status == Outcome::Status::sent ? "deliverable" : "undeliverable";
      } else if (outcome.status == Outcome::Status::sent) {
        story.succeeded.push_back({result.recipient, outcome.relay, outcome.next_hop_reports});
      } else if (outcome.status == Outcome::Status::bounced || expired) {
        state.action = "failed";
        story.failed.push_back(result.recipient);
        any_deferred = any_deferred || outcome.status == Outcome::Status::deferred;
      } else {
        story.delayed.push_back(result.recipient);
      }
    }
    if (trace != mime::Trace::none) {
      for (const PassResult& other : message->others) story.traced.push_back({other.recipient, other.outcome.relay, false, &other.outcome});
    }
    if (any_deferred) {
      rules_.qmgr_log.info(message->id() + ": from=<" + entry.envelope.sender + ">, status=" +
                           (entry.forced_expire ? "force-expired" : "expired") + ", returned to sender");
    }
    warned = !story.delayed.empty() && !entry.delay_warned && rules_.delay_warning.count() > 0 &&
             age >= micros(rules_.delay_warning);
    if (!warned) story.delayed.clear();
    if (postman_.has_news(story)) {
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
  for (std::size_t i = 0; i < message->results.size(); ++i) {
    const PassResult& result = message->results[i];
    queue::RecipientState& state = entry.recipients[result.recipient];
    const bool told = state.action == "failed" || entry.envelope.trace == mime::Trace::verify;
    state.done = state.done || result.outcome.status == Outcome::Status::sent || (told && notices_sent);
    if (told || i >= message->noted) update.recipients.emplace_back(result.recipient, state);
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
      update.attempts = entry.attempts + (notices_sent ? 1 : 0);   // what the first pass tells is told once
      if (warned) update.delay_warned = true;
    }
    // Waited for: until the commit load() would show recipients that are done as open.
    if (auto written = store_.apply(std::move(update)); !written) {
      rules_.qmgr_log.warning(message->id() + ": " + written.error().context);
    }
  }
  if (message->content != nullptr) content_bytes_ -= message->content->size();
  loaded_recipients_ -= entry.recipients.size();
  active_.erase(message->id());
  if (next) wait_until(message->id(), *next);
  fill();
}

}  // namespace millrace::deliver
