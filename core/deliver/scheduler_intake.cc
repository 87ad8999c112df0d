// The scheduler's front end: what waits, what is due, what becomes active, and to which destinations its
// recipients go.
#include <algorithm>

#include "core/base/strings.h"
#include "core/deliver/address.h"
#include "core/deliver/report.h"
#include "core/deliver/scheduler.h"

namespace millrace::deliver {

namespace {
// Contents kept in memory between store and delivery; beyond it they are read back when their turn comes.
constexpr std::size_t kMaxContentBytes = 32 * 1024 * 1024;
// Messages made active in one go, so that a long queue does not hold the loop.
constexpr int kFillStep = 100;
// Recipients resolved in one go.
constexpr std::size_t kReadStep = 200;
// Recipients of active messages, scheduled or not: so many times qmgr_message_recipient_limit.
constexpr std::size_t kLoadedPerLimit = 20;
constexpr std::chrono::seconds kRetryRead{60};

std::size_t open_recipients(const queue::Entry& entry) {
  return static_cast<std::size_t>(std::count_if(entry.recipients.begin(), entry.recipients.end(),
                                                [](const queue::RecipientState& one) { return !one.done; }));
}
}  // namespace

Result<void> Scheduler::start() {
  if (rules_.frozen) return {};
  const WallMicros now = wall_now();
  auto listed = store_.for_each([&](const queue::Summary& summary) {
    switch (summary.queue) {
      case queue::QueueName::incoming:
      case queue::QueueName::active:
        incoming_.push_back(summary.queue_id);
        break;
      case queue::QueueName::deferred:
        if (summary.next_attempt <= now) {
          due_.push_back({summary.queue_id, summary.next_attempt});
        } else {
          deferred_.push_back({summary.next_attempt, summary.queue_id});
        }
        break;
      case queue::QueueName::hold:
      case queue::QueueName::corrupt:
        break;
    }
    return true;
  });
  if (!listed) return listed;
  std::make_heap(deferred_.begin(), deferred_.end());
  started_ = true;
  flow_tokens_ = rules_.in_flow_tokens;
  next_scan_ = SteadyClock::now() + rules_.run_delay;
  timing_ = net::Loop::current().spawn(net::Stack::session, [this, alive = alive_] {
    run_timers();
    if (!*alive) return;
    timing_ = false;
    if (stopping_) changed_.set();
  }).has_value();
  at(SteadyClock::now() + std::chrono::seconds(1), [this] { tick(); });
  fill();
  return {};
}

void Scheduler::tick() {
  const TimePoint now = SteadyClock::now();
  for (auto& [name, transport] : transports_) {
    std::vector<Destination*> all;
    for (auto& [key, destination] : transport->destinations) all.push_back(destination.get());
    for (Destination* destination : all) {
      if (destination->window.dead() && now >= destination->dead_until) {
        destination->window.revive();
        transport->update(*destination);
      }
      transport->forget_idle(*destination);
    }
    dispatch(*transport);   // failed spawns end with time
  }
  if (now >= next_scan_) scan();
  fill();
  at(SteadyClock::now() + std::chrono::seconds(1), [this] { tick(); });
}

// Deferred mail is looked at every queue_run_delay, as Postfix does.
void Scheduler::scan() {
  next_scan_ = SteadyClock::now() + rules_.run_delay;
  const WallMicros now = wall_now();
  while (!deferred_.empty() && deferred_.front().when <= now) {
    std::pop_heap(deferred_.begin(), deferred_.end());
    due_.push_back({std::move(deferred_.back().queue_id), deferred_.back().when});
    deferred_.pop_back();
  }
  // After a flush of a long queue the room is given back.
  if (deferred_.capacity() > 4096 && deferred_.size() < deferred_.capacity() / 4) deferred_.shrink_to_fit();
}

void Scheduler::wait_until(const std::string& queue_id, WallMicros when) {
  deferred_.push_back({when, queue_id});
  std::push_heap(deferred_.begin(), deferred_.end());
}

bool Scheduler::room() const {
  if (active_.empty()) return true;   // one message may be larger than any limit
  return active_.size() < rules_.active_limit && loaded_recipients_ < rules_.recipient_limit * kLoadedPerLimit;
}

void Scheduler::stored(queue::Entry entry, std::shared_ptr<const std::string> content) {
  if (rules_.frozen || entry.queue != queue::QueueName::incoming) return;
  if (!started_ || stopping_ || !room() || !incoming_.empty()) {
    incoming_.push_back(entry.envelope.queue_id);
    fill();
    return;
  }
  activate(std::move(entry), std::move(content), false);
}

std::chrono::milliseconds Scheduler::flow_delay() {
  if (!started_ || incoming_.empty()) flow_tokens_ = rules_.in_flow_tokens;
  if (flow_tokens_ == 0) return rules_.in_flow_delay;
  --flow_tokens_;
  return {};
}

bool Scheduler::next_due(Due& due) {
  if (!due_.empty()) {
    due = std::move(due_.front());
    due_.pop_front();
    return true;
  }
  if (flushing_.empty()) return false;
  due = {std::move(flushing_.back().queue_id), flushing_.back().when, true};
  flushing_.pop_back();
  if (flushing_.empty()) flushing_.shrink_to_fit();
  return true;
}

void Scheduler::fill() {
  if (!started_ || stopping_ || filling_) return;
  filling_ = true;   // activation may finish messages, which asks for more
  int steps = kFillStep;
  while (room() && steps > 0) {
    // New mail and old mail take turns (qmgr(8)): a backlog must not starve what comes in, nor the reverse.
    from_due_ = incoming_.empty() || !from_due_;
    Due due;
    if (!from_due_ || !next_due(due)) {
      if (incoming_.empty()) break;
      due.queue_id = std::move(incoming_.front());
      incoming_.pop_front();
      if (flow_tokens_ < rules_.in_flow_tokens) ++flow_tokens_;
    }
    (void)activate_id(due);
    --steps;
  }
  filling_ = false;
  if (steps == 0) {
    net::Loop::current().post([this, alive = alive_] {
      if (*alive) fill();
    });
  }
}

bool Scheduler::activate_id(const Due& due) {
  if (active_.contains(due.queue_id)) return false;
  auto entry = store_.load(due.queue_id);
  if (!entry) {
    if (entry.error().code == Errc::protocol) {
      store_.set_corrupt(due.queue_id, entry.error().context);
    } else if (entry.error().code != Errc::not_found) {
      rules_.qmgr_log.warning(due.queue_id + ": " + entry.error().context);
      at(SteadyClock::now() + kRetryRead, [this, due] { due_.push_back(due); });
    }
    return false;
  }
  if (entry->queue == queue::QueueName::hold || entry->queue == queue::QueueName::corrupt) return false;
  if (due.when != kAnyTime && due.when != entry->next_attempt) return false;   // it was tried meanwhile
  activate(std::move(*entry), nullptr, due.flushed);
  return true;
}

void Scheduler::activate(queue::Entry entry, std::shared_ptr<const std::string> content, bool flushed) {
  auto message = std::make_shared<ActiveMessage>();
  message->entry = std::move(entry);
  message->flushed = flushed;
  if (content != nullptr && content_bytes_ + content->size() <= kMaxContentBytes) {
    content_bytes_ += content->size();
    message->content = std::move(content);
  }
  queue::Entry& is = message->entry;
  if (!is.envelope.redirect.empty() && !is.recipients.empty()) {
    // REDIRECT: one address in place of all recipients (access(5)).
    for (queue::RecipientState& one : is.recipients) one.done = true;
    is.recipients.front().recipient.address = is.envelope.redirect;
    is.recipients.front().done = false;
    is.envelope.redirect.clear();
  }
  set_out(message);
}

void Scheduler::probe(queue::Entry entry, std::shared_ptr<const std::string> content, ProbeDone done) {
  if (!started_ || stopping_) return done({});
  auto message = std::make_shared<ActiveMessage>();
  message->entry = std::move(entry);
  message->content = std::move(content);
  message->probed = std::move(done);
  set_out(message);
}

void Scheduler::end_probe(const MessagePtr& message) {
  rules_.qmgr_log.info(message->id() + ": removed");
  loaded_recipients_ -= message->entry.recipients.size();
  active_.erase(message->id());
  message->probed(message->results);
  fill();
}

void Scheduler::set_out(const MessagePtr& message) {
  const queue::Entry& is = message->entry;
  message->active = wall_now();
  message->unread = open_recipients(is);
  loaded_recipients_ += is.recipients.size();
  active_[message->id()] = message;
  rules_.qmgr_log.info(message->id() + ": from=<" + is.envelope.sender + ">, size=" + std::to_string(is.envelope.size) +
                       ", nrcpt=" + std::to_string(message->unread) + " (queue active)");
  if (message->unread == 0) {
    if (!background([this, message] { finish(message); })) try_later(message);
    return;
  }
  // Many take a while to resolve, and tables that ask servers may be waited for on a fiber alone.
  if (message->unread > kReadStep || router_.may_suspend()) {
    message->wants_more = std::make_shared<net::Event>();
    if (background([this, message] { read_all(message); })) return;
    message->wants_more.reset();
    if (router_.may_suspend()) return try_later(message);
  }
  Places places;
  read(*message, message->unread, places);
  assign(message, places);
  if (!places.empty() || message->unread > 0) return;
  if (!background([this, message] { finish(message); })) try_later(message);
}

// No stack to be had: it goes back to those that wait.
void Scheduler::try_later(const MessagePtr& message) {
  loaded_recipients_ -= message->entry.recipients.size();
  if (message->probed) {
    active_.erase(message->id());
    return message->probed({});
  }
  if (message->content != nullptr) content_bytes_ -= message->content->size();
  active_.erase(message->id());
  at(SteadyClock::now() + kRetryRead, [this, id = message->id()] { due_.push_back({id}); });
}

// Answers to our postmaster notices and probes: nobody reads them, and a system without local delivery must be
// able to get rid of them.
bool Scheduler::swallow(ActiveMessage& message, std::size_t recipient, const rewrite::Route& route) {
  const std::size_t at = route.recipient.rfind('@');
  if (route.address_class != rewrite::AddressClass::local ||
      !rules_.is_discarded(std::string_view(route.recipient).substr(0, at))) {
    return false;
  }
  Attempt attempt;
  attempt.entry = &message.entry;
  attempt.recipients = {recipient};
  attempt.active = message.active;
  attempt.started = attempt.connected = wall_now();
  Outcome& outcome = attempt.outcomes.emplace_back();
  outcome.status = Outcome::Status::sent;
  outcome.dsn = "2.0.0";
  outcome.text = "undeliverable postmaster notification discarded";
  outcome.last_hop = true;
  rules_.qmgr_log.info(recipient_line(attempt, 0, wall_now(), rules_.delay_places, attempt.verify_only() ? "deliverable" : "sent"));
  message.results.push_back({recipient, outcome});
  return true;
}

// Nothing: it was swallowed.
std::optional<Scheduler::Place> Scheduler::place_of(ActiveMessage& message, std::size_t recipient) {
  const queue::Entry& entry = message.entry;
  const std::string& address = entry.recipients[recipient].recipient.address;
  Place place;
  if (!entry.envelope.content_filter.empty()) {
    const std::string& filter = entry.envelope.content_filter;
    const std::size_t colon = filter.find(':');
    place.transport = filter.substr(0, colon);
    if (colon != filter.npos) place.nexthop = filter.substr(colon + 1);
    if (place.nexthop.empty()) place.nexthop = rules_.filter_nexthop.empty() ? domain_of(address) : rules_.filter_nexthop;
  } else if (auto to = message.probed ? router_.resolve_probe(address, entry.envelope.sender)
                                      : router_.resolve(address, entry.envelope.sender)) {
    if (swallow(message, recipient, *to)) return {};
    place.transport = to->transport;
    place.nexthop = to->nexthop;
    // What is delivered to is the address as it was resolved: user@ as user@here, an address as a literal.
    if (!to->recipient.empty()) message.entry.recipients[recipient].recipient.address = std::move(to->recipient);
  } else {
    rules_.qmgr_log.warning(message.id() + ": " + to.error().context);
    place.transport = "retry";
    place.nexthop = "4.3.0 address resolver failure";
  }
  // "postqueue -f" and the like deliver what otherwise waits (defer_transports).
  const auto& held = rules_.defer_transports;
  if (!message.flushed && std::find(held.begin(), held.end(), place.transport) != held.end()) {
    place.transport = "retry";
    place.nexthop = "4.3.2 deferred transport";
  }
  place.key = lower(place.nexthop);
  // With a limit of one recipient, each is a destination of its own (qmgr(8)).
  if (transport(place.transport).limits.recipients == 1) place.key = lower(address) + " " + place.key;
  return place;
}

// The next recipients, at most that many, with where they go.
std::size_t Scheduler::read(ActiveMessage& message, std::size_t most, Places& places) {
  const auto& recipients = message.entry.recipients;
  std::size_t count = 0;
  for (; count < most && message.next_unread < recipients.size(); ++message.next_unread) {
    if (recipients[message.next_unread].done) continue;
    const auto place = place_of(message, message.next_unread);
    if (!place) {
      --message.unread;
      continue;
    }
    places[*place].push_back(message.next_unread);
    ++count;
  }
  message.in_memory += count;
  active_recipients_ += count;
  return count;
}

// How many more recipients of this message may be scheduled now.
std::size_t Scheduler::allowance(const ActiveMessage& message) const {
  const auto left = [](std::size_t limit, std::size_t used) { return limit > used ? limit - used : 0; };
  std::size_t room = left(rules_.recipient_limit, active_recipients_);
  for (const auto& [transport, job] : message.jobs) {
    const TransportLimits& limits = transport->limits;
    room = std::min(room, left(limits.in_memory + (job->level > 0 ? limits.extra_in_memory : 0), transport->recipients));
  }
  return std::max(room, left(rules_.recipient_minimum, message.in_memory));
}

// The fiber of a message with many recipients.
void Scheduler::read_all(const MessagePtr& message) {
  while (message->unread > 0 && !message->withdrawn && !stopping_) {
    Places places;
    const std::size_t most = std::min(allowance(*message), message->unread);
    for (std::size_t count = 0; count < most && !message->withdrawn && !stopping_;) {
      const std::size_t got = read(*message, std::min(kReadStep, most - count), places);
      if (got == 0) break;   // the rest was swallowed
      count += got;
      (void)net::sleep_until(Deadline::after(std::chrono::nanoseconds(0)));   // others get their turn
    }
    assign(message, places);
    if (places.empty() && message->unread == 0 && message->open_batches == 0) return finish(message);
    if (message->unread > 0) wait_for_room(*message);
  }
  if (stopping_ || !message->withdrawn || message->unread == 0) return;
  message->unread = 0;
  for (auto jobs = message->jobs; const auto& [transport, job] : jobs) transport->forget_done(*message);
  if (message->open_batches == 0) finish(message);
}

void Scheduler::wait_for_room(ActiveMessage& message) {
  TransportLimits limits;
  if (!message.jobs.empty()) limits = message.jobs.begin()->first->limits;
  message.refill_at = message.in_memory > limits.refill ? message.in_memory - limits.refill : 0;
  message.wants_more->reset();
  (void)message.wants_more->wait(Deadline::after(std::max(limits.refill_delay, std::chrono::seconds(1))));
}

void Scheduler::assign(const MessagePtr& message, Places& places) {
  const queue::Entry& entry = message->entry;
  std::vector<std::pair<const Place*, Batch>> batches;
  for (auto& [place, list] : places) {
    // Postfix's order: by domain, then by address, capitals first.
    std::vector<std::tuple<std::string, std::string, std::size_t>> sorted;
    for (const std::size_t one : list) {
      const std::string& address = entry.recipients[one].recipient.address;
      sorted.emplace_back(domain_of(address), address, one);
    }
    std::sort(sorted.begin(), sorted.end());
    Transport& by = transport(place.transport);
    // With senders of their own (VERP) each recipient is a delivery.
    const std::size_t step = !entry.envelope.verp.empty() ? 1 : by.limits.recipients == 0 ? list.size() : by.limits.recipients;
    for (std::size_t at = 0; at < sorted.size(); ++at) {
      if (at % step == 0) batches.emplace_back(&place, Batch{message, {}, &by});
      batches.back().second.recipients.push_back(std::get<std::size_t>(sorted[at]));
    }
    message->unread -= list.size();
  }
  message->open_batches += batches.size();
  std::set<Transport*> touched;
  for (auto& [place, batch] : batches) {
    touched.insert(batch.transport);
    enqueue(place->nexthop, place->key, std::move(batch));
  }
  if (message->unread == 0) {
    for (auto jobs = message->jobs; const auto& [transport, job] : jobs) transport->forget_done(*message);
  }
  for (Transport* const transport : touched) dispatch(*transport);
}

}  // namespace millrace::deliver
