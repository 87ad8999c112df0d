#include "core/queue/admin.h"

#include <algorithm>

#include "core/net/fiber.h"

namespace millrace::queue {
namespace {

constexpr std::size_t kRowsBeforeOthers = 200;   // then other fibers get their turn

QueueName shown_queue(QueueName stored, const std::string& queue_id, SchedulerControl* scheduler) {
  const bool may_be_active = stored == QueueName::incoming || stored == QueueName::deferred;
  return may_be_active && scheduler != nullptr && scheduler->is_active(queue_id) ? QueueName::active : stored;
}

Listing listing_of(Store& store, const Summary& summary, QueueName queue) {
  Listing out;
  out.queue = queue;
  out.queue_id = summary.queue_id;
  out.arrival_seconds = summary.arrival / 1000000;
  out.size = summary.size;
  out.forced_expire = summary.forced_expire;
  out.sender = summary.sender;
  Result<Entry> entry = store.load(summary.queue_id);
  if (!entry) {
    out.queue = QueueName::corrupt;
    return out;
  }
  for (RecipientState& state : entry->recipients) {
    if (!state.done) out.recipients.push_back({std::move(state.recipient.address), std::move(state.reason)});
  }
  return out;
}

Update update_for(Change change, const Summary& summary) {
  Update update;
  update.queue_id = summary.queue_id;
  switch (change) {
    case Change::remove: update.remove = true; break;
    case Change::hold: update.queue = QueueName::hold; break;
    case Change::release:
      update.queue = QueueName::deferred;
      update.next_attempt = 0;
      break;
    case Change::requeue:
      update.queue = QueueName::incoming;
      update.attempts = 0;
      update.next_attempt = 0;
      break;
    case Change::expire_and_release:
      if (summary.queue == QueueName::hold) {
        update.queue = QueueName::deferred;
        update.next_attempt = 0;
      }
      update.forced_expire = true;
      break;
    case Change::expire: update.forced_expire = true; break;
  }
  return update;
}

// Expiring what is expired is nothing; so Postfix counts it as well.
bool has_effect(Change change, const Summary& summary) {
  if (change == Change::expire) return !summary.forced_expire;
  if (change == Change::expire_and_release) return !summary.forced_expire || summary.queue == QueueName::hold;
  return true;
}

}  // namespace

Result<void> list_queue(Store& store, SchedulerControl* scheduler, const std::function<bool(const Listing&)>& each) {
  if (Result<void> committed = store.commit_pending(); !committed) return committed;
  std::size_t rows = 0;
  return store.for_each([&](const Summary& summary) {
    if (++rows % kRowsBeforeOthers == 0 && net::in_fiber()) {
      if (!net::sleep_until(Deadline::after(std::chrono::nanoseconds(0)))) return false;
    }
    return each(listing_of(store, summary, shown_queue(summary.queue, summary.queue_id, scheduler)));
  });
}

std::optional<Change> parse_change(std::string_view letter) {
  if (letter == "d") return Change::remove;
  if (letter == "h") return Change::hold;
  if (letter == "H") return Change::release;
  if (letter == "r") return Change::requeue;
  if (letter == "e") return Change::expire;
  if (letter == "f") return Change::expire_and_release;
  return {};
}

const char* change_done(Change change) {
  switch (change) {
    case Change::remove: return "removed";
    case Change::hold: return "placed on hold";
    case Change::release: return "released from hold";
    case Change::requeue: return "requeued";
    case Change::expire:
    case Change::expire_and_release: return "expired";
  }
  return "";
}

std::vector<QueueName> default_queues(Change change) {
  switch (change) {
    case Change::hold: return {QueueName::incoming, QueueName::active, QueueName::deferred};
    case Change::release: return {QueueName::hold};
    default: return {QueueName::hold, QueueName::incoming, QueueName::active, QueueName::deferred};
  }
}

Result<Changed> change_queue(Store& store, SchedulerControl* scheduler, Change change, const std::string& queue_id,
                             const std::vector<QueueName>& queues) {
  if (Result<void> committed = store.commit_pending(); !committed) return tl::unexpected(committed.error());
  // Collected first: changes while the list is walked could be seen twice.
  std::vector<Summary> found;
  Result<void> listed = store.for_each([&](const Summary& summary) {
    if (!queue_id.empty() && summary.queue_id < queue_id) return true;
    if (!queue_id.empty() && summary.queue_id != queue_id) return false;   // ids come in order
    const QueueName shown = shown_queue(summary.queue, summary.queue_id, scheduler);
    if (std::find(queues.begin(), queues.end(), shown) != queues.end() && has_effect(change, summary)) {
      found.push_back(summary);
    }
    return true;
  });
  if (!listed) return tl::unexpected(listed.error());
  Changed out;
  for (const Summary& summary : found) {
    store.apply_later(update_for(change, summary));
    if (!summary.forced_expire || change != Change::expire_and_release) ++out.changed;
    if (change == Change::expire_and_release && summary.queue == QueueName::hold) ++out.released;
  }
  if (Result<void> committed = store.commit_pending(); !committed) return tl::unexpected(committed.error());
  if (scheduler == nullptr) return out;
  for (const Summary& summary : found) {
    if (change == Change::remove) {
      scheduler->removed(summary.queue_id);
    } else {
      scheduler->changed(summary.queue_id);
    }
  }
  return out;
}

}  // namespace millrace::queue
