// The chain: every filter, whatever it is written in and wherever it runs, is something that is asked at
// a stage, answers with a verdict and edits, within a budget, and leaves a trace.
//
// A Filter is configuration: made at start, shared by all sessions of a process, immutable.
// A FilterSession is one filter's state for one SMTP session; all its calls come from that session's
// fiber, one at a time, and may suspend.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"
#include "core/filter/shared.h"
#include "core/filter/verdict.h"
#include "core/mime/envelope.h"
#include "core/mime/message.h"
#include "core/net/stream.h"

namespace millrace::net {
class Resolver;
}

namespace millrace::filter {

// What is known of the session; owned by the SMTP session, seen by filters.
struct SessionFacts {
  std::string client_address;           // "" for a unix-domain client (then "localhost" rules apply)
  std::string client_port;
  std::string client_name = "unknown";  // verified
  std::string reverse_client_name = "unknown";
  enum class NameStatus { ok, not_found, forged, temporary } name_status = NameStatus::ok;
  NameStatus reverse_name_status = NameStatus::ok;
  std::string server_address, server_port;
  std::string service;                  // "smtp", as in master.cf
  std::string protocol = "SMTP";        // or ESMTP
  std::string helo_name;
  std::optional<net::TlsInfo> tls;
  std::string sasl_method, sasl_username, sasl_sender;
  unsigned long session_number = 0;     // as in the log
  int verbosity = 0;                 // -v of the service, debug_peer_level of a client in debug_peer_list
  unsigned client_connections = 0;      // of this client now, this one counted; 0: not counted
  std::string stress;                   // value of the parameter
  bool is_local = false;                // one of ours by local_header_rewrite_clients, or mail that did not come by SMTP
  bool improper_pipelining = false;     // the client sent commands ahead of replies it had to wait for
};

// Edits of one filter at one stage: all or nothing.  Recorded in order, applied by the chain when the
// filter's verdict came in time.
struct Edit {
  enum class Kind { add_header, insert_header, change_header, delete_header, add_recipient, delete_recipient,
                    change_sender, replace_body, prepend_header /* above our Received */ } kind;
  std::size_t index = 0;     // insert: position over all headers (0 = top); change/delete: n-th of that name from 1
  // Header name and value (LF or CRLF between folded lines); or an address in internal form, angle
  // brackets allowed, and its ESMTP parameters ("NOTIFY=NEVER ORCPT=rfc822;a@b", "RET=HDRS ENVID=x").
  std::string name, value;
  bool keep_space = false;   // value holds all after the colon, leading white space included
};

class Journal {
 public:
  void add(Edit edit) { edits_.push_back(std::move(edit)); }
  // The replacement body grows here; its size is bounded by the caller's limit.
  Result<void> append_body(std::string_view bytes);
  void set_body(mime::Body fresh) { body_.emplace(std::move(fresh)); }
  // A header section in place of the one there is, our own Received included, ahead of the edits; `notes` is what the
  // log says of it.  For filters that edit many fields: the cost of an edit does not depend on how many there are.
  void set_headers(std::vector<mime::Header> fresh, std::vector<std::string> notes) {
    headers_ = std::move(fresh);
    notes_ = std::move(notes);
  }
  std::optional<std::vector<mime::Header>>& headers() { return headers_; }
  const std::vector<std::string>& notes() const { return notes_; }
  const std::vector<Edit>& edits() const { return edits_; }
  std::optional<mime::Body>& body() { return body_; }
  bool empty() const { return edits_.empty() && !body_ && !headers_ && !content_filter && !redirect; }
  void clear() {
    edits_.clear();
    notes_.clear();
    body_.reset();
    headers_.reset();
    content_filter.reset();
    redirect.reset();
  }
  int spool_directory = -1;
  std::optional<std::string> content_filter, redirect;   // of the envelope
  // header_checks(5): after PASS, REDIRECT, REJECT and DISCARD milters do not look at the content any more.
  bool no_milters = false;

 private:
  std::vector<Edit> edits_;
  std::optional<mime::Body> body_;
  std::optional<std::vector<mime::Header>> headers_;
  std::vector<std::string> notes_;
};

// Applies a journal, all of it or, on an error, nothing.  Indexes are milter's as Postfix counts them:
// insert counts all fields, our own Received too (0 is above it); change and delete count the fields of
// that name without our own Received, and a deletion moves later ones up at once.  A change of a field
// that is not there adds it; an empty value deletes.  An empty body edit (set_body of an empty Body) is an
// empty body.  One line per edit is appended to `log`.  Errors: protocol, for an edit that makes no sense.
Result<void> apply(Journal& journal, mime::Envelope& envelope, mime::Message& message, std::vector<std::string>* log);

// Does it add a DKIM-Signature field?
bool adds_signature(const Journal& journal);
// Would it break one that is there: does it change the body, or fields that are signed as a rule?  Adding trace fields
// does not.
bool breaks_signature(Journal& journal);
// One line per edit, for the log and the trace; control bytes replaced.
std::vector<std::string> describe_edits(Journal& journal);

struct Context {
  const SessionFacts& session;
  // The transaction so far; sender and recipients accepted so far, not yet rewritten.  Before the end of
  // data, size is what the client declared with SIZE=.  At mail the sender is already set.
  mime::Envelope& envelope;
  const mime::Recipient* rcpt = nullptr;  // at Stage::rcpt and vrfy
  std::string_view command;             // the stage's SMTP command with its argument ("RCPT TO:<x>")
  std::string_view typed;               // mail/rcpt: the path as typed, with brackets; helo: the name; vrfy, etrn: the argument; unknown: the line
  std::vector<std::string_view> parameters;  // mail/rcpt: ESMTP parameters
  bool rejected = false;                // somebody before said no already (milters with RCPT_REJ are still told)
  Verdict rejection;                    // and what
  std::vector<std::string> prepend;     // "Name: value": put above our Received header when the stage's verdict is not a refusal (access(5) PREPEND)
  Deadline deadline;                    // of the stage
  const log::Logger* log = nullptr;
};

class FilterSession {
 public:
  virtual ~FilterSession() = default;
  // Envelope stages: connect, helo, mail, rcpt, data, unknown. [fiber]
  virtual Verdict at(Stage stage, Context& context) = 0;
  // Content: headers to end of message, in one go; `message` shows the edits of the filters before. [fiber]
  virtual Verdict message(Context& context, const mime::Message& message, Journal& journal) = 0;
  // The transaction is over, whatever became of it. Must not fail. [fiber]
  virtual void abort() = 0;
  // The session is over, and in good order: a connection may be left to another one. [fiber]
  virtual void close() {}
  // Content while it arrives, for a filter with `stream`: the header section as the client sent it, then the body in
  // pieces; message() follows and brings the edits.  What refuses, discards or fails here is told at the end. [fiber]
  virtual bool streams() const { return false; }
  virtual Verdict stream_headers(Context&, const std::vector<mime::Header>&) { return {}; }
  virtual Verdict stream_body(Context&, std::string_view) { return {}; }
  // Can it still be asked, or does it repeat what its failure means?
  virtual bool works() const { return true; }
  // Its answer to every command from now on, also to those no filter is asked about (STARTTLS, VRFY, ETRN): of one
  // that refused the session, or failed for the rest of it.  Told, not asked: must not suspend.
  virtual Verdict standing(const Context&) const { return {}; }
  // Is this filter told of recipients that were refused before it was asked?  Its answer is then ignored.
  virtual bool wants_rejected() const { return false; }
};

// Kinds of traffic that may have a default_action of their own.
enum class Traffic { inbound, authenticated, local, null_sender };
constexpr std::size_t kTraffics = 4;
std::string_view traffic_name(Traffic traffic);
// Of a session, or with MAIL known of a message: a null sender counts first, then who the client is.
Traffic traffic_of(Stage stage, const Context& context);

// Common keys of each filter's block: main.cf(5), smtpd_filters.
struct Options {
  std::chrono::milliseconds timeout{0};       // 0: the filter's own
  Verdict default_action;                     // when it fails; action proceed = accept
  std::array<std::optional<Verdict>, kTraffics> class_actions;   // default_action_inbound and so on
  bool shadow = false;                        // recorded, nothing applied
  bool stream = false;                        // gets the content while the client sends it
  bool parallel = false;                      // independent of its neighbours: asked about a message together with them
  std::size_t max_connections = 100;          // over all processes
  BreakerRule breaker;

  const Verdict& failure_action(Traffic traffic) const {
    const auto& own = class_actions[static_cast<std::size_t>(traffic)];
    return own ? *own : default_action;
  }
};

class Filter {
 public:
  virtual ~Filter() = default;
  virtual std::unique_ptr<FilterSession> open(const SessionFacts& facts) = 0;  // must not suspend
  virtual const std::string& name() const = 0;   // for log and trace: "milter:inet:127.0.0.1:8891"
  // Its doings with a message are worth a log line: it is a program of somebody else's.
  virtual bool is_remote() const { return false; }
  Options options;
  SharedFilter* shared = nullptr;   // what all processes know of it; nullptr: this one is alone
  unsigned process = 0;             // our number there
};

// One line of the decision trace.  A filter that had nothing to say at stages of a transaction gives one line for all
// of them, stage "passed", with the stages in `text`.
struct TraceLine {
  WallMicros when = 0;
  std::string stage, filter, action, text, reason_id, failure;  // failure: the policy used, and why
  int code = 0;
  std::int64_t latency_us = 0;
  bool shadow = false;
  double score = 0;
  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<std::string> edits;
  unsigned transaction = 0;  // counts in the session, from 1; 0: before the first
  std::string recipient;
  std::string queue_id;
  std::string sender;   // with MAIL known; "<>" for the null sender
};
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void record(const SessionFacts& facts, TraceLine line) = 0;  // never suspends
};

class Chain {
 public:
  void add(std::shared_ptr<Filter> filter) { filters_.push_back(std::move(filter)); }
  const std::vector<std::shared_ptr<Filter>>& filters() const { return filters_; }
  // Gives each filter its place among those of all processes.
  void share(SharedFilters& all, unsigned process);

 private:
  std::vector<std::shared_ptr<Filter>> filters_;
};

// The chain for one SMTP session.  Rules:
// - The first verdict that refuses or discards ends the stage.  At rcpt, filters that want to know of
//   refused recipients are still told.
// - quarantine does not end the stage: the next filters are asked, and when none refuses or discards,
//   the first quarantine is the answer.
// - accept silences its filter for the session (said at connect or helo) or for the transaction.
// - A shadow filter is asked with a copy of the envelope; its answer and edits are recorded and dropped.
//   Where its answer would have ended the transaction it is silent until the next one.
// - Each filter's deadline is the stage's, cut by the filter's timeout when it has one.
// - Neighbours that are `parallel` are asked about a message side by side, each seeing it as it came to the first of
//   them; their edits are applied, and their answers count, in the order of the list.
// - Filters with `stream` are asked first at the end of a message, in the order of the list.
// - While a filter's breaker is open it is not asked: that is a failure, answered by default_action, or put off during
//   its grace.  A failure on the content of one message does not count where default_action accepts.
class ChainSession {
 public:
  ChainSession(const Chain& chain, const SessionFacts& facts, TraceSink* trace, const log::Logger& log);
  ~ChainSession();
  // Asks the filters in order until one stops the stage. Shadow filters are asked and not obeyed.
  Verdict at(Stage stage, Context& context);
  // Content, filter by filter, each filter's edits applied before the next is asked.
  Verdict message(Context& context, mime::Message& message, int spool_directory);
  // Content as it arrives, for the filters with `stream`; a Context as for message().
  bool streams() const;
  void stream_headers(Context& context, const std::vector<mime::Header>& headers);
  void stream_body(Context& context, std::string_view bytes);
  void abort();   // end of the transaction
  void close();   // end of the session, when there is time for a farewell
  // The first refusal that stands for the rest of the session; proceed when there is none.
  Verdict standing(const Context& context) const;
  // The name of the filter behind the last stopping verdict ("" = none), for the log.
  const std::string& last_filter() const { return last_filter_; }
  const std::vector<std::string>& edit_log() const { return edit_log_; }

 private:
  struct Member;
  bool silent(const Member& member, Stage stage, const Context& context) const;
  struct Turned;   // what a filter said of a message
  Verdict ask(Member& member, Stage stage, Context& context);
  Turned ask_message(Member& member, Context& context, const mime::Message& message, int spool_directory);
  Verdict take_message(Member& member, Turned turned, Context& context, mime::Message& message);
  void ask_together(std::span<Member*> members, std::vector<Turned>& said, Context& context, const mime::Message& message,
                    int spool_directory);
  void log_message(const Member& member, const Verdict& verdict, const std::vector<std::string>& edits,
                   std::int64_t latency_us, const Context& context) const;
  template <typename Call>
  void stream(Context& context, Call call);
  bool admitted(Member& member, Stage stage, Verdict& verdict);
  void judge(Member& member, Stage stage, const Verdict& verdict, bool failed);
  void settle(Member& member, Stage stage, Verdict& verdict, const Context& context);
  void note(Stage stage, Member& member, const Verdict& verdict, std::string_view failure, std::int64_t latency_us,
            const Context& context, std::vector<std::string> edits);
  void note_passes();
  std::vector<Member> members_;
  const SessionFacts& facts_;
  TraceSink* trace_;
  log::Logger log_;
  std::string last_filter_, queue_id_;
  std::string signer_;   // of this message: who signed it last
  std::vector<std::string> edit_log_;
  unsigned transaction_ = 0;
  bool in_transaction_ = false;
};

}  // namespace millrace::filter
