// The scheduler's front end: what waits, what is due, what becomes active, and to which destinations its
// recipients go.
#include <algorithm>
#include <tuple>

#include "core/base/strings.h"
#include "core/deliver/address.h"
#include "core/deliver/scheduler.h"

namespace millrace::deliver {

namespace {
// Contents kept in memory between store and delivery; beyond it they are read back when their turn comes.
constexpr std::size_t kMaxContentBytes = 32 * 1024 * 1024;
// Messages made active in one go, so that a long queue does not hold the loop.
constexpr int kFillStep = 100;

std::size_t open_recipients(const queue::Entry& entry) {
  return static_cast<std::size_t>(std::count_if(entry.recipients.begin(), entry.recipients.end(),
                                                [](const queue::RecipientState& one) { return !one.done; }));
}
}  // namespace

Result<void> Scheduler::start() {
  const WallMicros now = wall_now();
  auto listed = store_.for_each([&](const queue::Summary& summary) {
    switch (summary.queue) {
      case queue::QueueName::incoming:
      case queue::QueueName::active:
        incoming_.push_back(summary.queue_id);
        break;
      case queue::QueueName::deferred:
        if (summary.next_attempt <= now) {
          due_.push_back(summary.queue_id);
        } else {
          wait_until(summary.queue_id, summary.next_attempt);
        }
        break;
      case queue::QueueName::hold:
      case queue::QueueName::corrupt:
        break;
    }
    return true;
  });
  if (!listed) return listed;
  started_ = true;
  next_scan_ = SteadyClock::now() + rules_.run_delay;
  spawn_ticker();
  fill();
  return {};
}

void Scheduler::spawn_ticker() {
  (void)net::Loop::current().spawn(net::Stack::session, [this, alive = alive_] {
    while (*alive && !stopping_) {
      if (!net::sleep_until(Deadline::after(std::chrono::seconds(1)))) return;
      if (*alive && !stopping_) tick();
    }
  });
}

void Scheduler::tick() {
  const TimePoint now = SteadyClock::now();
  for (auto& [name, transport] : transports_) {
    std::vector<Destination*> all;
    for (auto& [key, destination] : transport->destinations) all.push_back(destination.get());
    for (Destination* destination : all) {
      if (destination->window.dead() && now >= destination->dead_until) destination->window.revive();
      transport->forget_idle(*destination);
    }
    dispatch(*transport);   // rate delays and failed spawns end with time
  }
  if (now >= next_scan_) scan();
  fill();
}

// Deferred mail is looked at every queue_run_delay, as Postfix does.
void Scheduler::scan() {
  next_scan_ = SteadyClock::now() + rules_.run_delay;
  const WallMicros now = wall_now();
  while (!deferred_.empty() && deferred_.begin()->first <= now) {
    due_.push_back(deferred_.begin()->second);
    deferred_at_.erase(deferred_.begin()->second);
    deferred_.erase(deferred_.begin());
  }
}

void Scheduler::wait_until(const std::string& queue_id, WallMicros when) {
  forget_waiting(queue_id);
  deferred_.emplace(when, queue_id);
  deferred_at_.emplace(queue_id, when);
}

void Scheduler::forget_waiting(const std::string& queue_id) {
  const auto it = deferred_at_.find(queue_id);
  if (it == deferred_at_.end()) return;
  deferred_.erase({it->second, queue_id});
  deferred_at_.erase(it);
}

bool Scheduler::room() const {
  if (active_.empty()) return true;   // one message may be larger than any limit
  return active_.size() < rules_.active_limit && active_recipients_ < rules_.recipient_limit;
}

void Scheduler::stored(queue::Entry entry, std::shared_ptr<const std::string> content) {
  if (entry.queue != queue::QueueName::incoming) return;
  if (!started_ || stopping_ || !room() || !incoming_.empty()) {
    incoming_.push_back(entry.envelope.queue_id);
    fill();
    return;
  }
  activate(std::move(entry), std::move(content));
}

void Scheduler::fill() {
  if (!started_ || stopping_ || filling_) return;
  filling_ = true;   // activation may finish messages, which asks for more
  int steps = kFillStep;
  while (room() && !(incoming_.empty() && due_.empty()) && steps > 0) {
    // New mail and old mail take turns (qmgr(8)): a backlog must not starve what comes in, nor the reverse.
    from_due_ = incoming_.empty() || (!from_due_ && !due_.empty());
    std::deque<std::string>& queue = from_due_ ? due_ : incoming_;
    const std::string id = std::move(queue.front());
    queue.pop_front();
    if (activate_id(id)) --steps;
  }
  filling_ = false;
  if (steps == 0) {
    net::Loop::current().post([this, alive = alive_] {
      if (*alive) fill();
    });
  }
}

bool Scheduler::activate_id(const std::string& queue_id) {
  if (active_.contains(queue_id)) return false;
  auto entry = store_.load(queue_id);
  if (!entry) {
    if (entry.error().code == Errc::protocol) {
      store_.set_corrupt(queue_id, entry.error().context);
    } else if (entry.error().code != Errc::not_found) {
      rules_.qmgr_log.warning(queue_id + ": " + entry.error().context);
      wait_until(queue_id, wall_now() + 60'000'000);
    }
    return false;
  }
  if (entry->queue == queue::QueueName::hold || entry->queue == queue::QueueName::corrupt) return false;
  activate(std::move(*entry), nullptr);
  return true;
}

void Scheduler::activate(queue::Entry entry, std::shared_ptr<const std::string> content) {
  auto message = std::make_shared<ActiveMessage>();
  message->entry = std::move(entry);
  message->active = wall_now();
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
  const std::size_t recipients = open_recipients(is);
  message->active_recipients = recipients;
  active_recipients_ += recipients;
  active_[message->id()] = message;
  rules_.qmgr_log.info(message->id() + ": from=<" + is.envelope.sender + ">, size=" + std::to_string(is.envelope.size) +
                       ", nrcpt=" + std::to_string(recipients) + " (queue active)");
  if (!router_.may_suspend()) return route(message);
  // Tables ask servers: only a fiber may wait for them.
  if (background([this, message] { route(message); })) return;
  const std::string id = message->id();
  active_recipients_ -= std::min(active_recipients_, message->active_recipients);
  if (message->content != nullptr) content_bytes_ -= message->content->size();
  active_.erase(id);
  wait_until(id, wall_now() + 60'000'000);
}

void Scheduler::route(const MessagePtr& message) {
  struct Place {
    std::string transport, nexthop, key;
    bool operator<(const Place& other) const {
      return std::tie(transport, key, nexthop) < std::tie(other.transport, other.key, other.nexthop);
    }
  };
  const queue::Entry& entry = message->entry;
  std::map<Place, std::vector<std::size_t>> places;
  for (std::size_t i = 0; i < entry.recipients.size(); ++i) {
    if (entry.recipients[i].done) continue;
    const std::string& address = entry.recipients[i].recipient.address;
    Place place;
    if (!entry.envelope.content_filter.empty()) {
      const std::string& filter = entry.envelope.content_filter;
      const std::size_t colon = filter.find(':');
      place.transport = filter.substr(0, colon);
      if (colon != filter.npos) place.nexthop = filter.substr(colon + 1);
      if (place.nexthop.empty()) place.nexthop = rules_.filter_nexthop.empty() ? domain_of(address) : rules_.filter_nexthop;
    } else if (auto to = router_.resolve(address, entry.envelope.sender)) {
      place.transport = to->transport;
      place.nexthop = to->nexthop;
    } else {
      rules_.qmgr_log.warning(message->id() + ": " + to.error().context);
      place.transport = "retry";
      place.nexthop = "4.3.0 address resolver failure";
    }
    if (std::find(rules_.defer_transports.begin(), rules_.defer_transports.end(), place.transport) !=
        rules_.defer_transports.end()) {
      place.transport = "retry";
      place.nexthop = "4.3.2 deferred transport";
    }
    place.key = lower(place.nexthop);
    // With a limit of one recipient, each is a destination of its own (qmgr(8)).
    if (transport(place.transport).limits.recipients == 1) place.key = lower(address) + " " + place.key;
    places[place].push_back(i);
  }

  std::vector<std::pair<Place, Job>> jobs;
  for (auto& [place, list] : places) {
    // Postfix's order: by domain, then by address.
    std::stable_sort(list.begin(), list.end(), [&](std::size_t a, std::size_t b) {
      const std::string& x = entry.recipients[a].recipient.address;
      const std::string& y = entry.recipients[b].recipient.address;
      return std::pair(domain_of(x), lower(x)) < std::pair(domain_of(y), lower(y));
    });
    const std::size_t limit = transport(place.transport).limits.recipients;
    const std::size_t step = limit == 0 ? list.size() : limit;
    for (std::size_t at = 0; at < list.size(); at += step) {
      const auto first = list.begin() + static_cast<std::ptrdiff_t>(at);
      const auto last = list.begin() + static_cast<std::ptrdiff_t>(std::min(list.size(), at + step));
      jobs.emplace_back(place, Job{message, {first, last}});
    }
  }
  if (stopping_) {   // in the time that tables took: the store has it as it was
    active_.erase(message->id());
    return;
  }
  message->open_jobs = message->withdrawn ? 0 : jobs.size();
  if (message->open_jobs == 0) {
    if (!background([this, message] { finish(message); })) active_.erase(message->id());
    return;
  }
  for (auto& [place, job] : jobs) enqueue(transport(place.transport), place.nexthop, place.key, std::move(job));
}

void Scheduler::flush_all() {
  for (auto& [name, transport] : transports_) {
    for (auto& [key, destination] : transport->destinations) {
      if (destination->window.dead()) destination->window.revive();
    }
  }
  for (const auto& [when, id] : deferred_) due_.push_back(id);
  deferred_.clear();
  deferred_at_.clear();
  fill();
}

void Scheduler::flush(const std::string& queue_id) {
  if (!deferred_at_.contains(queue_id)) return;
  forget_waiting(queue_id);
  due_.push_back(queue_id);
  fill();
}

void Scheduler::flush_site(const std::string& domain) {
  std::vector<std::string> found;
  const std::string wanted = lower(domain);
  for (const auto& [when, id] : deferred_) {
    const auto entry = store_.load(id);
    if (entry && std::any_of(entry->recipients.begin(), entry->recipients.end(), [&](const queue::RecipientState& one) {
          return !one.done && domain_of(one.recipient.address) == wanted;
        })) {
      found.push_back(id);
    }
  }
  for (auto& [name, transport] : transports_) {
    for (auto& [key, destination] : transport->destinations) {
      if (destination->window.dead() && destination->key.find(wanted) != std::string::npos) destination->window.revive();
    }
  }
  for (const std::string& id : found) flush(id);
}

void Scheduler::removed(const std::string& queue_id) {
  forget_waiting(queue_id);
  const auto it = active_.find(queue_id);
  if (it != active_.end()) it->second->withdrawn = true;
}

void Scheduler::changed(const std::string& queue_id) {
  const auto entry = store_.load(queue_id);
  const auto it = active_.find(queue_id);
  if (it != active_.end()) {
    // What runs may end; what has not begun is not begun.
    it->second->withdrawn = !entry || entry->queue == queue::QueueName::hold || entry->queue == queue::QueueName::corrupt;
    if (entry) {
      it->second->entry.queue = entry->queue;
      it->second->entry.forced_expire = entry->forced_expire;
    }
    return;
  }
  forget_waiting(queue_id);
  if (!entry || entry->queue == queue::QueueName::hold || entry->queue == queue::QueueName::corrupt) return;
  if (entry->queue == queue::QueueName::deferred && entry->next_attempt > wall_now() && !entry->forced_expire) {
    wait_until(queue_id, entry->next_attempt);
    return;
  }
  due_.push_back(queue_id);   // one that is due twice is made active once
  fill();
}

}  // namespace millrace::deliver
