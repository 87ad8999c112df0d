// What administrators, ETRN and queue tools ask of the scheduler.
#include <algorithm>
#include <iterator>

#include "core/base/strings.h"
#include "core/deliver/address.h"
#include "core/deliver/scheduler.h"

namespace millrace::deliver {

namespace {
// Messages looked at before others get their turn: a walk of a long queue takes a while, and must not show.
constexpr std::size_t kWalkStep = 64;
}  // namespace

// Dead destinations are given another chance.
void Scheduler::revive(const std::function<bool(const Destination&)>& which) {
  for (auto& [name, transport] : transports_) {
    for (auto& [key, destination] : transport->destinations) {
      if (!destination->window.dead() || !which(*destination)) continue;
      destination->window.revive();
      transport->update(*destination);
    }
  }
}

void Scheduler::flush_all() {
  revive([](const Destination&) { return true; });
  for (auto& [name, transport] : transports_) transport->failed_until = {};
  for (Due& due : due_) due.flushed = true;
  if (flushing_.empty()) {
    flushing_ = std::move(deferred_);
  } else {
    std::move(deferred_.begin(), deferred_.end(), std::back_inserter(flushing_));
  }
  deferred_ = {};
  fill();
}

void Scheduler::flush(const std::string& queue_id) {
  if (!started_ || active_.contains(queue_id)) return;
  const auto entry = store_.load(queue_id);
  if (!entry || entry->queue != queue::QueueName::deferred) return;
  revive([&](const Destination& destination) {
    return std::any_of(entry->recipients.begin(), entry->recipients.end(), [&](const queue::RecipientState& one) {
      return !one.done && destination.key.find(lower(domain_of(one.recipient.address))) != std::string::npos;
    });
  });
  due_.push_back({queue_id, entry->next_attempt, true});
  fill();
}

bool Scheduler::flush_site(const std::string& domain) {
  const std::string wanted = lower(domain);
  if (rules_.flush_domains) {
    const auto eligible = rules_.flush_domains(wanted);
    if (!eligible || !*eligible) return false;
  }
  if (!started_) return true;
  revive([&](const Destination& destination) { return destination.key.find(wanted) != std::string::npos; });
  sites_.insert(wanted);
  if (!flushing_sites_) flushing_sites_ = background([this] { flush_sites(); });
  return true;
}

// One walk serves all sites that were asked for when it began; those asked for meanwhile share the next.
void Scheduler::flush_sites() {
  while (!sites_.empty() && !stopping_) {
    const std::set<std::string> wanted = std::exchange(sites_, {});
    std::size_t seen = 0;
    (void)store_.for_each([&](const queue::Summary& summary) {
      if (++seen % kWalkStep == 0) (void)net::sleep_until(Deadline::after(std::chrono::nanoseconds(0)));
      if (stopping_) return false;
      if (summary.queue != queue::QueueName::deferred || active_.contains(summary.queue_id)) return true;
      const auto entry = store_.load(summary.queue_id);
      const bool goes_there = entry && std::any_of(entry->recipients.begin(), entry->recipients.end(), [&](const auto& one) {
        return !one.done && wanted.contains(lower(domain_of(one.recipient.address)));
      });
      if (goes_there) {
        due_.push_back({summary.queue_id, entry->next_attempt, true});
        fill();
      }
      return true;
    });
  }
  flushing_sites_ = false;
}

void Scheduler::removed(const std::string& queue_id) {
  const auto it = active_.find(queue_id);
  if (it == active_.end()) return;
  it->second->withdrawn = true;
  if (it->second->wants_more) it->second->wants_more->set();
}

void Scheduler::changed(const std::string& queue_id) {
  if (rules_.frozen) return;
  const auto entry = store_.load(queue_id);
  const auto it = active_.find(queue_id);
  if (it != active_.end()) {
    // What runs may end; what has not begun is not begun.
    ActiveMessage& message = *it->second;
    message.withdrawn = !entry || entry->queue == queue::QueueName::hold || entry->queue == queue::QueueName::corrupt;
    if (message.withdrawn && message.wants_more) message.wants_more->set();
    if (entry) {
      message.entry.queue = entry->queue;
      message.entry.forced_expire = entry->forced_expire;
    }
    return;
  }
  if (!entry || entry->queue == queue::QueueName::hold || entry->queue == queue::QueueName::corrupt) return;
  if (entry->queue == queue::QueueName::deferred && entry->next_attempt > wall_now() && !entry->forced_expire) {
    return wait_until(queue_id, entry->next_attempt);
  }
  due_.push_back({queue_id, entry->next_attempt});   // one that is due twice is made active once
  fill();
}

}  // namespace millrace::deliver
