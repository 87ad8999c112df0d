// Inside of core/milter: the filter and its session.  The public face is session.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/filter/chain.h"
#include "core/milter/connection.h"
#include "core/milter/settings.h"
#include "core/mime/canonical.h"
#include "core/net/fiber.h"

namespace millrace::milter {

class Milter final : public filter::Filter {
 public:
  Milter(Settings settings, filter::Options options);
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts& facts) override;
  const std::string& name() const override { return name_; }

  const Settings& settings() const { return settings_; }
  net::Gate& gate() { return gate_; }
  // A connected stream to the filter. [fiber]
  Result<std::unique_ptr<net::Stream>> connect(Deadline deadline);

 private:
  Result<std::vector<net::Endpoint>> addresses();

  Settings settings_;
  std::string name_;
  // Loop-local, as a process with sessions has one loop.
  net::Gate gate_;
  std::vector<net::Endpoint> addresses_;   // of a host name, for a few seconds
  Deadline addresses_until_{TimePoint::min()};
};

// What there is to know about one kind of event.
struct EventRule {
  char command;
  std::uint32_t unwanted, unanswered;   // protocol bits
  MacroStage macros;
  std::uint32_t since = 2;              // protocol version
};

class MilterSession final : public filter::FilterSession {
 public:
  explicit MilterSession(Milter& filter) : filter_(filter), settings_(filter.settings()) {}
  ~MilterSession() override;
  filter::Verdict at(filter::Stage stage, filter::Context& context) override;
  filter::Verdict message(filter::Context& context, const mime::Message& message, filter::Journal& journal) override;
  void abort() override;
  bool wants_rejected() const override;

 private:
  using Context = filter::Context;
  using Verdict = filter::Verdict;

  // Life of the connection.
  Verdict ensure_open(Context& context);
  Verdict negotiate(Context& context);
  Verdict greet(Context& context);
  Verdict hello(Context& context, std::string_view name);
  void hang_up();
  void quit();

  // One event.  An empty `rule.unanswered` bit means that the answer is waited for.
  bool begin(const EventRule& rule, Context& context);   // macros and suppression; true: append the packet
  Verdict finish(const EventRule& rule, Context& context, filter::Journal* journal = nullptr);
  Verdict read_answer(const EventRule& rule, Context& context, filter::Journal* journal);
  Verdict answer(const EventRule& rule, Context& context, const Packet& packet, bool& final);
  Verdict refuse(const EventRule& rule, Verdict verdict);

  // Content.
  Verdict content(Context& context, const mime::Message& message, filter::Journal& journal);
  Verdict headers(Context& context, const mime::Message& message);
  Verdict body(Context& context, const mime::Body& body);
  // True when the packet was an edit; a verdict in `problem` when it cannot be used.
  bool take_edit(const Packet& packet, Context& context, filter::Journal& journal, Verdict& problem);
  Verdict replace_body(const Packet& packet, Context& context, filter::Journal& journal);
  Verdict hold() const;

  // Failures.
  Verdict broken(const EventRule* rule, std::string what);
  Verdict misconfigured(Context& context, std::string what);

  bool has(std::uint32_t bit) const { return (options_.protocol & bit) != 0; }
  Deadline deadline(const Context& context) const;
  std::string label() const { return "milter " + settings_.service; }

  Milter& filter_;
  const Settings& settings_;
  std::shared_ptr<Connection> connection_;
  bool in_gate_ = false;
  Options options_;                                       // as agreed
  std::vector<std::string> own_lists_[kMacroStages];      // macro lists the filter asked for
  std::chrono::seconds timeout_{30};

  enum class State { fresh, live, accepted, dead } state_ = State::fresh;
  Verdict standing_;                // what a dead filter, or one that refused the session, answers
  std::string late_failure_;        // found where it could not be told
  bool session_refused_ = false;
  bool greeted_ = false;            // HELO was sent
  // The message.
  bool transaction_ = false, settled_ = false, content_done_ = false;
  char skipped_ = 0;                // event the filter wants no more of, until another kind is sent
  std::uint64_t had_macros_ = 0;    // bit per command: its last macro packet was not empty
  bool quarantined_ = false;
  std::string quarantine_reason_;
  std::uint64_t replaced_ = 0;      // octets of the replacement body
  mime::Canonicalizer canonicalizer_;
};

}  // namespace millrace::milter
