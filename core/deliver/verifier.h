// Address verification (verify(8), ADDRESS_VERIFICATION_README): what is known of an address, from the cache, else from
// a probe: a message that is routed as any other, told to the next hop up to RCPT TO, and never stored.
//
// Promise: an address has one probe under way at most; a good result stays while later probes fail (it ends with
// address_verify_positive_expire_time); nothing is answered with a guess.  Loop-local.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/deliver/destination.h"
#include "core/kv/store.h"
#include "core/net/fiber.h"
#include "core/queue/store.h"
#include "core/rewrite/cleanup.h"
#include "core/smtp/sink.h"

namespace millrace::deliver {

struct VerifierRules {
  std::string host, mail_name;
  std::string sender;                       // of probes; "" is the null sender
  std::chrono::seconds sender_ttl{0};
  std::chrono::seconds positive_expire{31 * 86400}, positive_refresh{7 * 86400};
  std::chrono::seconds negative_expire{3 * 86400}, negative_refresh{3 * 3600};
  bool negative_cache = true;
  bool persistent = true;                   // address_verify_map names a table: any; ours is core/kv
  std::size_t pending_limit = 5000;
  bool long_queue_ids = false;
  std::shared_ptr<const rewrite::Cleanup> cleanup;   // may be nullptr
  log::Logger log;
};

// The local part of probes' sender now: with a time to live it changes, so that nobody can collect it
// (address_verify_sender_ttl).  `epoch` counts periods.
std::string probe_user(const std::string& local_part, std::int64_t epoch);
// Is this the local part of the sender of probes, of this period or the one before?
bool is_probe_user(std::string_view user, const std::string& local_part, std::chrono::seconds ttl, WallMicros now);

class Verifier {
 public:
  using Done = std::function<void(const std::vector<PassResult>&)>;
  // Hands a probe to the scheduler; `done` is called once, with nothing when it could not be tried.
  using Prober = std::function<void(queue::Entry, std::shared_ptr<const std::string>, Done)>;
  Verifier(VerifierRules rules, queue::Store& store, Prober prober);
  ~Verifier();

  // nullptr: the cache is in memory alone.
  void use_cache(std::shared_ptr<kv::Store> cache) { cache_ = std::move(cache); }

  // What is known; when nothing is, a probe is sent and waited for as long as `wait`, then the answer is "pending".
  // Errors: no probe could be made. [fiber]
  Result<smtp::Verified> verify(const std::string& address, std::chrono::seconds wait);

 private:
  struct Record {
    smtp::Verified::Status status = smtp::Verified::Status::pending;
    WallMicros updated = 0;
    std::string text;
  };
  struct Pending {
    std::vector<std::shared_ptr<net::Event>> waiters;
    std::optional<smtp::Verified> result;
    WallMicros since = 0;
  };
  std::optional<Record> find(const std::string& address);
  void keep(const std::string& address, const Record& record);
  bool needs_probe(const Record& record) const;
  Result<std::shared_ptr<Pending>> probe(const std::string& address);
  void finished(const std::string& address, const std::vector<PassResult>& results);
  Result<queue::Entry> make_probe(const std::string& address) const;

  VerifierRules rules_;
  queue::Store& store_;
  Prober prober_;
  std::shared_ptr<kv::Store> cache_;
  std::map<std::string, Record> memory_;          // without a cache
  std::unordered_map<std::string, std::shared_ptr<Pending>> pending_;
  std::uint64_t next_id_ = 0, last_id_ = 0;       // reserved
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Reads address_verify_* of main.cf.  Errors: config.
Result<VerifierRules> verifier_rules(const config::Config& config, const rewrite::Router& router);

}  // namespace millrace::deliver
