#include "core/deliver/verifier.h"

#include <fmt/format.h>

#include "core/base/strings.h"

namespace millrace::deliver {

namespace {
using Status = smtp::Verified::Status;

constexpr std::size_t kMemoryEntries = 100'000;
constexpr std::size_t kMaxText = 1000;
constexpr std::uint64_t kIdsAtOnce = 64;
constexpr std::chrono::seconds kProbeTime{1000};    // a probe that takes longer is tried again
constexpr char kPrefix[] = "verify:";
constexpr char kInProgress[] = "Address verification in progress";

WallMicros micros(std::chrono::seconds span) { return std::chrono::microseconds(span).count(); }
}  // namespace

std::string probe_user(const std::string& local_part, std::int64_t epoch) {
  static constexpr std::string_view kDigits = "0123456789bcdfghjklmnpqrstvwxyz";   // no vowels, no words
  std::string tail;
  for (auto left = static_cast<std::uint64_t>(epoch); left > 0 || tail.empty(); left /= kDigits.size()) {
    tail.insert(tail.begin(), kDigits[left % kDigits.size()]);
  }
  return local_part + tail;
}

bool is_probe_user(std::string_view user, const std::string& local_part, std::chrono::seconds ttl, WallMicros now) {
  if (ttl.count() == 0) return iequals(user, local_part);
  const std::int64_t epoch = now / micros(ttl);
  return iequals(user, probe_user(local_part, epoch)) || iequals(user, probe_user(local_part, epoch - 1)) ||
         iequals(user, probe_user(local_part, epoch + 1));
}

Verifier::Verifier(VerifierRules rules, queue::Store& store, Prober prober)
    : rules_(std::move(rules)), store_(store), prober_(std::move(prober)) {}

Verifier::~Verifier() { *alive_ = false; }

std::optional<Verifier::Record> Verifier::find(const std::string& address) {
  Record out;
  if (cache_ != nullptr) {
    const auto found = cache_->get(kPrefix + address);
    if (!found) rules_.log.warning(found.error().context);
    if (!found || !*found) return {};
    // "status updated text"
    std::string_view rest = **found;
    const std::string_view status = take_word(rest, " ");
    const auto updated = parse_number<std::int64_t>(take_word(rest, " "));
    if (status.size() != 1 || status[0] < '0' || status[0] > '2' || !updated) return {};
    out.status = static_cast<Status>(status[0] - '0');
    out.updated = *updated;
    out.text = rest.empty() ? rest : rest.substr(1);
  } else {
    const auto it = memory_.find(address);
    if (it == memory_.end()) return {};
    out = it->second;
  }
  const auto expire = out.status == Status::ok ? rules_.positive_expire : rules_.negative_expire;
  if (out.updated + micros(expire) < wall_now()) return {};
  return out;
}

void Verifier::keep(const std::string& address, const Record& record) {
  const auto expire = record.status == Status::ok ? rules_.positive_expire : rules_.negative_expire;
  if (cache_ != nullptr) {
    const std::string value = fmt::format("{} {} {}", static_cast<int>(record.status), record.updated, record.text);
    if (auto done = cache_->set(kPrefix + address, value, record.updated + micros(expire)); !done) {
      rules_.log.warning(done.error().context);
    }
    return;
  }
  if (memory_.size() >= kMemoryEntries) memory_.clear();
  memory_[address] = record;
}

bool Verifier::needs_probe(const Record& record) const {
  const auto refresh = record.status == Status::ok ? rules_.positive_refresh : rules_.negative_refresh;
  return record.updated + micros(refresh) < wall_now();
}

Result<queue::Entry> Verifier::make_probe(const std::string& address) const {
  queue::Entry out;
  mime::Envelope& envelope = out.envelope;
  envelope.sender = rules_.sender;
  if (const std::size_t at = envelope.sender.rfind('@'); rules_.sender_ttl.count() > 0 && at != std::string::npos) {
    envelope.sender = probe_user(envelope.sender.substr(0, at), wall_now() / micros(rules_.sender_ttl)) + envelope.sender.substr(at);
  }
  envelope.trace = mime::Trace::probe;
  envelope.smtputf8 = !is_ascii(address) || !is_ascii(envelope.sender);
  envelope.arrival = out.queued = wall_now();
  envelope.recipients.emplace_back().address = address;
  if (rules_.cleanup != nullptr) {
    if (auto done = rules_.cleanup->envelope(envelope, true, false); !done) return tl::unexpected(done.error());
  }
  for (mime::Recipient& one : std::exchange(envelope.recipients, {})) {
    if (one.original.empty()) one.original = one.address;
    out.recipients.emplace_back().recipient = std::move(one);
  }
  return out;
}

Result<std::shared_ptr<Verifier::Pending>> Verifier::probe(const std::string& address) {
  const WallMicros now = wall_now();
  if (const auto it = pending_.find(address); it != pending_.end()) {
    if (it->second->since + micros(kProbeTime) > now) return it->second;
    pending_.erase(it);
  }
  if (pending_.size() >= rules_.pending_limit) {
    return fail(Errc::limit, "address verification: " + std::to_string(pending_.size()) + " probes are under way");
  }
  const auto pending = std::make_shared<Pending>();
  pending->since = now;
  pending_[address] = pending;
  auto entry = make_probe(address);
  if (entry && next_id_ == last_id_) {
    const auto first = store_.reserve_ids(kIdsAtOnce);
    if (first) {
      next_id_ = *first;
      last_id_ = *first + kIdsAtOnce;
    } else {
      entry = tl::unexpected(first.error());
    }
  }
  if (!entry) {
    rules_.log.warning("address verification of <" + address + ">: " + entry.error().context);
    finished(address, {});
    return pending;
  }
  entry->envelope.queue_id = queue::format_queue_id(next_id_++, now, rules_.long_queue_ids);
  auto content = std::make_shared<const std::string>(
      "Received: by " + rules_.host + " (" + rules_.mail_name + ")\r\n\tid " + entry->envelope.queue_id + "; " +
      rfc5322_date(now) + "\r\nSubject: probe\r\nTo: <" + printable(address) + ">\r\n\r\n");
  entry->envelope.size = content->size();
  prober_(std::move(*entry), std::move(content), [this, alive = alive_, address](const std::vector<PassResult>& results) {
    if (*alive) finished(address, results);
  });
  return pending;
}

// On the fiber that ends the probe.
void Verifier::finished(const std::string& address, const std::vector<PassResult>& results) {
  Record record{Status::deferred, wall_now(), "address verification probe failed"};
  // An alias of several is good when one of them is, and bad when all are.
  bool first = true;
  for (const PassResult& result : results) {
    const Outcome& outcome = result.outcome;
    const Status status = outcome.status == Outcome::Status::sent      ? Status::ok
                          : outcome.status == Outcome::Status::bounced ? Status::bounced
                                                                       : Status::deferred;
    if (!first && record.status <= status) continue;   // ok before deferred before bounced
    first = false;
    record.status = status;
    record.text = outcome.text.substr(0, kMaxText);
  }
  const auto it = pending_.find(address);
  if (it != pending_.end()) {
    const std::shared_ptr<Pending> pending = std::move(it->second);
    pending_.erase(it);
    pending->result = smtp::Verified{record.status, record.text};
    for (const auto& waiter : pending->waiters) waiter->set();
  }
  if (results.empty()) return;
  if (record.status != Status::ok) {
    // Optimistic: what was good stays so until it expires.
    const auto known = find(address);
    if (!rules_.negative_cache || (known && known->status == Status::ok)) return;
  }
  keep(address, record);
}

Result<smtp::Verified> Verifier::verify(const std::string& address, std::chrono::seconds wait) {
  const auto known = find(address);
  if (known && !needs_probe(*known)) return smtp::Verified{known->status, known->text};
  const auto started = probe(address);
  if (known) return smtp::Verified{known->status, known->text};   // a refresh is not waited for
  if (!started) return tl::unexpected(started.error());
  const std::shared_ptr<Pending> pending = *started;
  if (!pending->result && wait.count() > 0) {
    const auto event = std::make_shared<net::Event>();
    pending->waiters.push_back(event);
    (void)event->wait(Deadline::after(wait));
  }
  if (pending->result) return *pending->result;
  return smtp::Verified{Status::pending, kInProgress};
}

Result<VerifierRules> verifier_rules(const config::Config& config, const rewrite::Router& router) {
  const config::Params& params = config.params();
  VerifierRules out;
  out.host = params.myhostname;
  out.mail_name = params.mail_name;
  const std::string sender(trim(params.address_verify_sender));
  if (!sender.empty() && sender != "<>") out.sender = router.rewrite(sender);
  out.sender_ttl = params.address_verify_sender_ttl;
  out.positive_expire = params.address_verify_positive_expire_time;
  out.positive_refresh = params.address_verify_positive_refresh_time;
  out.negative_expire = params.address_verify_negative_expire_time;
  out.negative_refresh = params.address_verify_negative_refresh_time;
  out.negative_cache = params.address_verify_negative_cache;
  out.persistent = !trim(params.address_verify_map).empty();
  out.pending_limit = static_cast<std::size_t>(params.address_verify_pending_request_limit);
  out.long_queue_ids = params.enable_long_queue_ids;
  out.log = log::Logger(config.value("syslog_name").value_or("postfix") + "/verify");
  return out;
}

}  // namespace millrace::deliver
