// One delivery attempt: some recipients of one message to one next hop, and what became of each.
// Values between the scheduler and the delivery agents.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"
#include "core/queue/store.h"

namespace millrace::deliver {

struct Outcome {
  enum class Status { pending, sent, deferred, bounced };
  Status status = Status::pending;
  std::string dsn;          // "2.0.0"
  std::string text;         // in the log's parentheses: "250 2.0.0 Ok", "host x[y] said: 450 …"
  std::string remote_mta;   // "dns; mx.example", "" when no host answered
  std::string diagnostic;   // "smtp; 550 5.1.1 unknown"
  std::string relay;        // "mx.example[192.0.2.1]:25"; "" is "none"
  unsigned connection_use = 0;   // deliveries over this connection, this one included
  bool next_hop_reports = false; // the next hop takes over NOTIFY=SUCCESS (RFC 3461 section 5.2.2)
  std::string final_recipient;   // whom an alias led to, for the log; "": the recipient itself
  bool last_hop = false;         // delivered, not relayed
};

// The message text.  `memory` when it is there, else `read_at` (nullptr then means: cannot be read).
struct ContentView {
  const std::string* memory = nullptr;
  std::uint64_t size = 0;
  std::function<Result<std::size_t>(std::uint64_t offset, std::span<char> out)> read_at;  // [fiber]
};

struct Attempt {
  const queue::Entry* entry = nullptr;
  std::vector<std::size_t> recipients;   // indexes in entry->recipients
  std::string nexthop;
  std::optional<std::string> verp_sender;   // of this one recipient's copy, in place of the message's
  ContentView content;

  std::vector<Outcome> outcomes;         // one for each of `recipients`
  WallMicros active = 0;                 // when the message became active
  WallMicros started = 0, connected = 0; // agent began; transmission began
  // Of recipients that stand for several (aliases): what became of the others.  Logged already; for reports.
  std::vector<std::pair<std::size_t, Outcome>> others{};   // position in `recipients`
  // The destination as a whole is in trouble (nobody answers, connection lost): counts against it.
  bool site_trouble = false;
  // Another transport did the work (PassOn): its outcomes are logged as that one's.
  std::optional<log::Logger> logged_by;
  // The agent itself is out of order (its program cannot be run, say): the transport rests.
  bool transport_trouble = false;

  // Find out whether it could be delivered, and stop before it is: "sent" then means deliverable.
  bool verify_only() const {
    const mime::Trace trace = entry->envelope.trace;
    return trace == mime::Trace::verify || trace == mime::Trace::probe;
  }
  const std::string& sender() const { return verp_sender ? *verp_sender : entry->envelope.sender; }
  const mime::Recipient& recipient(std::size_t position) const {
    return entry->recipients[recipients[position]].recipient;
  }
  void all_pending(Outcome::Status status, const std::string& dsn, const std::string& text) {
    for (Outcome& outcome : outcomes) {
      if (outcome.status != Outcome::Status::pending) continue;
      outcome.status = status;
      outcome.dsn = dsn;
      outcome.text = text;
    }
  }
};

// What an agent keeps between two deliveries to one next hop: an open connection.
class Carry {
 public:
  virtual ~Carry() = default;
};

class Agent {
 public:
  virtual ~Agent() = default;
  // Gives every outcome a status.  `carry` is of the last delivery to this next hop, or empty. [fiber]
  virtual void deliver(Attempt& attempt, std::unique_ptr<Carry>& carry) = 0;
  // Does deliver() heed verify_only()?  One that does not is never asked to verify: the scheduler answers for it.
  virtual bool can_verify() const { return false; }
  // No more mail for this next hop at the moment.  `busy`: much of it has come just now. [fiber]
  virtual void release(const std::string& nexthop, std::unique_ptr<Carry> carry, bool busy) = 0;
  virtual void stop() {}   // closes what is idle [fiber]
};

// Lets the agent of another transport do the attempt, at once: "transport" or "transport:nexthop" (best_mx_transport
// and the like).  Every outcome has a status afterwards. [fiber]
using PassOn = std::function<void(const std::string& destination, Attempt& attempt)>;

// Delivers, or verifies where that was asked; an agent that cannot verify is not asked.  [fiber]
inline void deliver_or_verify(Agent& agent, const std::string& transport, Attempt& attempt, std::unique_ptr<Carry>& carry) {
  if (!attempt.verify_only() || agent.can_verify()) return agent.deliver(attempt, carry);
  attempt.connected = wall_now();
  attempt.outcomes.assign(attempt.recipients.size(), Outcome{});
  attempt.all_pending(Outcome::Status::sent, "2.0.0", "delivers over transport " + transport);
}

}  // namespace millrace::deliver
