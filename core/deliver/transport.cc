// Which delivery of a transport begins next: Postfix's scheduling of jobs, with preemption.
//
// Postfix walks a list of jobs and steps over those whose destinations are full.  Here the destinations that
// may begin a delivery are kept sorted by their first job, so that a choice costs the same whatever waits.
#include <algorithm>

#include "core/base/assert.h"
#include "core/deliver/destination.h"

namespace millrace::deliver {

namespace {
constexpr JobOrder kGap = JobOrder{1} << 20;   // room between two jobs for those that go ahead
// Jobs looked at in one search for a small one, so that a long row of full destinations costs little.
constexpr int kMostLookedAt = 5000;
}  // namespace

Destination& Transport::destination(const std::string& key, const std::string& nexthop) {
  auto& slot = destinations[key];
  if (slot == nullptr) slot = std::make_unique<Destination>(key, nexthop, limits.concurrency);
  return *slot;
}

Job& Transport::job_of(ActiveMessage& message) {
  Job*& slot = message.jobs[this];
  if (slot != nullptr) return *slot;
  if (jobs.empty()) last_order_ = 0;
  auto job = std::make_unique<Job>();
  job->message = &message;
  job->order = last_order_ += kGap;
  job->since = SteadyClock::now();
  slot = job.get();
  jobs.emplace(slot->order, std::move(job));
  return *slot;
}

void Transport::add(Destination& destination, Batch batch) {
  Job& job = job_of(*batch.message);
  recipients += batch.recipients.size();
  Destination::Peer& peer = destination.peers[job.order];
  if (peer.batches.empty()) {
    peer.job = &job;
    job.places.push_back(&destination);
  }
  peer.batches.push_back(std::move(batch));
  ++job.waiting;
  ++destination.waiting;
  nobody_ahead_of_ = nullptr;
  update(destination);
}

void Transport::update(Destination& destination) {
  const bool was_ready = destination.ready_as.has_value();
  if (was_ready) ready.erase(*destination.ready_as);
  destination.ready_as.reset();
  if (destination.peers.empty() || destination.resting || destination.busy >= destination.window.size()) return;
  destination.ready_as.emplace(destination.peers.begin()->first, destination.turn, &destination);
  ready.insert(*destination.ready_as);
  // Somebody else's mail can move now: it may be small.
  if (!was_ready && destination.peers.rbegin()->second.job != nobody_ahead_of_) nobody_ahead_of_ = nullptr;
}

void Transport::occupy(Destination& destination) {
  ++busy;
  ++destination.busy;
  update(destination);
}

void Transport::leave(Destination& destination) {
  MR_ASSERT(busy > 0 && destination.busy > 0);
  --busy;
  --destination.busy;
  update(destination);
}

Destination* Transport::next() {
  if (ready.empty() || resting || (limits.processes > 0 && busy >= limits.processes)) return nullptr;
  Job& current = *jobs.at(std::get<0>(*ready.begin()));
  if (Job* const small = who_may_go_ahead(current)) go_ahead(*small, current);
  return std::get<2>(*ready.begin());
}

std::optional<Transport::Pick> Transport::pick() {
  Destination* const first = next();
  if (first == nullptr) return {};
  Destination& destination = *first;
  const auto peer = destination.peers.begin();
  Job& job = *peer->second.job;
  Pick out{&destination, std::move(peer->second.batches.front())};
  peer->second.batches.pop_front();
  --job.waiting;
  --destination.waiting;
  ++job.begun;
  ++job.credit;
  if (peer->second.batches.empty()) {
    destination.peers.erase(peer);
    std::erase(job.places, &destination);
  }
  erase_if_done(job);
  destination.turn = ++turns_;
  occupy(destination);
  return out;
}

// The small job that has waited longest for its size and for which `current` can pay: Postfix's slots.
Job* Transport::who_may_go_ahead(Job& current) {
  const Preemption& rules = limits.preemption;
  if (rules.cost == 0 || nobody_ahead_of_ == &current) return nullptr;
  const auto cost = static_cast<std::int64_t>(rules.cost);
  const auto left = [&](std::size_t batches) { return static_cast<std::int64_t>(batches) + current.credit; };
  // One that will never have earned as much is over soon anyway.
  if (left(current.waiting + current.message->unread) < static_cast<std::int64_t>(rules.minimum) * cost) return nullptr;
  const double has = static_cast<double>(current.credit) / static_cast<double>(rules.cost) + static_cast<double>(rules.loan);
  const auto price = [&](std::size_t batches) {
    return static_cast<double>(batches) * static_cast<double>(100 - std::min<std::size_t>(rules.discount, 100)) / 100;
  };
  if (has < price(1)) return nullptr;
  const std::int64_t largest = left(current.waiting) / cost;

  Job* best = nullptr;
  double best_score = 0;
  const TimePoint now = SteadyClock::now();
  int looked_at = 0;
  for (auto it = jobs.upper_bound(current.order); it != jobs.end() && ++looked_at <= kMostLookedAt; ++it) {
    Job& job = *it->second;
    const std::size_t size = job.most();
    if (job.level != 0 || job.waiting == 0 || static_cast<std::int64_t>(size) > largest) continue;
    if (std::none_of(job.places.begin(), job.places.end(), [](const Destination* place) { return place->ready_as.has_value(); })) {
      continue;
    }
    const double score = (std::chrono::duration<double>(now - job.since).count() + 1) / static_cast<double>(size);
    if (best == nullptr || score > best_score) {
      best = &job;
      best_score = score;
    }
    if (size == 1) break;   // those behind it are younger, and none is smaller
  }
  if (best == nullptr) nobody_ahead_of_ = &current;
  return best != nullptr && has >= price(best->most()) ? best : nullptr;
}

void Transport::go_ahead(Job& job, const Job& current) {
  Job& pays = *jobs.at(current.order);
  pays.credit -= static_cast<std::int64_t>(job.most() * limits.preemption.cost);
  job.level = pays.level + 1;
  const auto before = [&] {
    const auto at = jobs.find(pays.order);
    return at == jobs.begin() ? JobOrder{0} : std::prev(at)->first;
  };
  if (pays.order - before() < 2) renumber();
  const JobOrder low = before();
  set_order(job, low + (pays.order - low) / 2);
}

void Transport::set_order(Job& job, JobOrder order) {
  for (Destination* const place : job.places) {
    auto peer = place->peers.extract(job.order);
    peer.key() = order;
    place->peers.insert(std::move(peer));
  }
  auto node = jobs.extract(job.order);
  node.key() = order;
  jobs.insert(std::move(node));
  job.order = order;
  for (Destination* const place : job.places) update(*place);
}

// From the last to the first, upwards: no two jobs have one number on the way.
void Transport::renumber() {
  std::vector<Job*> all;
  for (const auto& [order, job] : jobs) all.push_back(job.get());
  const JobOrder top = std::max<JobOrder>(last_order_, all.size() * kGap) + kGap;
  for (std::size_t i = all.size(); i-- > 0;) set_order(*all[i], top + (i + 1) * kGap);
  last_order_ = top + all.size() * kGap;
}

std::vector<Batch> Transport::take_all(Destination& destination) {
  std::vector<Batch> out;
  while (!destination.peers.empty()) {
    auto peer = destination.peers.extract(destination.peers.begin());
    Job& job = *peer.mapped().job;
    job.waiting -= peer.mapped().batches.size();
    std::erase(job.places, &destination);
    erase_if_done(job);
    std::move(peer.mapped().batches.begin(), peer.mapped().batches.end(), std::back_inserter(out));
  }
  destination.waiting = 0;
  update(destination);
  return out;
}

void Transport::erase_if_done(Job& job) {
  if (job.waiting > 0 || job.message->unread > 0) return;
  if (nobody_ahead_of_ == &job) nobody_ahead_of_ = nullptr;
  job.message->jobs.erase(this);
  jobs.erase(JobOrder{job.order});
}

void Transport::forget_done(ActiveMessage& message) {
  const auto found = message.jobs.find(this);
  if (found != message.jobs.end()) erase_if_done(*found->second);
}

void Transport::forget_idle(Destination& destination) {
  if (destination.busy > 0 || !destination.peers.empty() || destination.window.dead() || destination.resting) return;
  if (destination.is_busy()) return;   // its rate is still of use
  destinations.erase(std::string(destination.key));
}

}  // namespace millrace::deliver
