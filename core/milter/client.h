// Inside of core/milter: the filter and its session.  The public face is session.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/filter/chain.h"
#include "core/milter/connection.h"
#include "core/milter/settings.h"
#include "core/mime/canonical.h"
#include "core/net/fiber.h"

namespace millrace::milter {

class Milter final : public filter::Filter, public std::enable_shared_from_this<Milter> {
 public:
  Milter(Settings settings, filter::Options options);
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts& facts) override;
  const std::string& name() const override { return name_; }

  const Settings& settings() const { return settings_; }
  // One of the connections that may be had: counted over all processes where they share memory. [fiber]
  Result<void> enter(Deadline deadline);
  void leave();
  // A connected stream to the filter. [fiber]
  Result<std::unique_ptr<net::Stream>> connect(Deadline deadline);

  // A connection between two SMTP sessions, its negotiation done.  It keeps its place among the connections.
  struct Idle {
    std::shared_ptr<Connection> connection;
    Options options;
    TimePoint until;
  };
  std::optional<Idle> take_idle();
  void keep_idle(Idle idle);   // [fiber]
  bool is_remote() const override { return true; }

 private:
  Result<std::vector<net::Endpoint>> addresses();

  Settings settings_;
  std::string name_;
  // Loop-local, as a process with sessions has one loop.
  net::Gate gate_;
  std::vector<Idle> idle_;
  bool sweeping_ = false;
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
  using Context = filter::Context;
  using Verdict = filter::Verdict;
  explicit MilterSession(Milter& filter) : filter_(filter), settings_(filter.settings()) {}
  ~MilterSession() override;
  filter::Verdict at(filter::Stage stage, filter::Context& context) override;
  filter::Verdict message(filter::Context& context, const mime::Message& message, filter::Journal& journal) override;
  void abort() override;
  void close() override { quit(); }
  bool wants_rejected() const override;
  bool streams() const override { return filter_.options.stream; }
  Verdict stream_headers(Context& context, const std::vector<mime::Header>& headers) override;
  Verdict stream_body(Context& context, std::string_view bytes) override;
  Verdict standing(const Context& context) const override {
    return state_ == State::dead ? standing(filter::Stage::connect, context) : Verdict();
  }
  bool works() const override { return state_ != State::dead || session_refused_; }

 private:
  // Life of the connection.
  Verdict ensure_open(Context& context);
  Verdict negotiate(Context& context);
  void agree();
  Verdict greet(Context& context);
  Verdict hello(Context& context, std::string_view name);
  void hang_up();
  void quit();
  bool pass_on();   // the connection waits for another session; false: it must go
  Verdict ready(Context& context);   // for content

  // One event.  An empty `rule.unanswered` bit means that the answer is waited for.
  bool begin(const EventRule& rule, Context& context);   // macros and suppression; true: append the packet
  Verdict finish(const EventRule& rule, Context& context, filter::Journal* journal = nullptr);
  Verdict read_answer(const EventRule& rule, Context& context, filter::Journal* journal);
  Verdict answer(const EventRule& rule, Context& context, const Packet& packet, bool& final);
  Verdict refuse(const EventRule& rule, Verdict verdict);

  // Content.
  Verdict content(Context& context, const mime::Message& message, filter::Journal& journal);
  Verdict headers(Context& context, const std::vector<mime::Header>& headers);
  Verdict end_of_headers(Context& context);
  Verdict body(Context& context, const mime::Body& body);
  const std::string& body_macros(Context& context);
  Verdict body_piece(Context& context, std::string_view piece);
  // True when the packet was an edit; a verdict in `problem` when it cannot be used.
  bool take_edit(const Packet& packet, Context& context, filter::Journal& journal, Verdict& problem);
  // milter_header_checks on a header the filter adds or changes; false: the edit is left out.
  bool check_header(filter::Edit& edit, Context& context);
  Verdict checked(Context& context, filter::Journal& journal, Verdict verdict);
  Verdict replace_body(const Packet& packet, Context& context, filter::Journal& journal);
  Verdict hold() const;

  // Failures.
  Verdict broken(const EventRule* rule, std::string what);
  Verdict misconfigured(Context& context, const EventRule& rule, std::string what);

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
  Verdict standing(filter::Stage stage, const Context& context) const;   // what a dead filter answers
  Verdict standing_;                // of one that refused the session
  bool misconfigured_ = false;      // dead because of a request that makes no sense
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
  bool streamed_ = false;           // headers, and what came of the body, went out while it came
  std::string stream_piece_;        // of the body, not sent yet
  std::optional<std::string> body_macros_;
  // What milter_header_checks asked for.
  struct Asked {
    std::optional<std::string> filter, redirect, hold;
    std::vector<std::string> bcc;
    bool discard = false;
    std::optional<Verdict> reject;
  } asked_;
  mime::Canonicalizer canonicalizer_;
};

}  // namespace millrace::milter
