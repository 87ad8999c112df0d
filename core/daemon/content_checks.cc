#include "core/daemon/content_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/strings.h"
#include "core/checks/checks.h"

namespace millrace::daemon {
namespace {

using checks::Decision;
using Kind = Decision::Kind;
using filter::Edit;
using filter::Verdict;

constexpr std::size_t kLoggedText = 200;   // bytes of a header or body line in the log, as cleanup(8)

// Turns what was found in the body into a new body, copied only once something changes.
class BodyEdits {
 public:
  struct Change {
    std::uint64_t offset, length;   // bytes to leave out
    std::string text;               // and what stands there instead
  };
  void add(Change change) { changes_.push_back(std::move(change)); }
  bool empty() const { return changes_.empty(); }

  Result<void> write(const mime::Body& old, filter::Journal& journal) const {
    std::uint64_t at = 0, offset = 0;
    std::size_t next = 0;
    Result<void> failed;
    const auto walked = old.for_each([&](std::string_view piece) {
      // Changes come in order; each may lie anywhere in this piece or reach beyond it.
      while (!piece.empty()) {
        if (at > offset) {
          const auto skip = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), at - offset));
          piece.remove_prefix(skip);
          offset += skip;
          continue;
        }
        if (next < changes_.size() && changes_[next].offset == offset) {
          if (failed = journal.append_body(changes_[next].text); !failed) return false;
          at = offset + changes_[next].length;
          ++next;
          continue;
        }
        std::size_t take = piece.size();
        if (next < changes_.size()) take = std::min<std::size_t>(take, changes_[next].offset - offset);
        if (failed = journal.append_body(piece.substr(0, take)); !failed) return false;
        piece.remove_prefix(take);
        offset += take;
        at = offset;
      }
      return true;
    });
    if (!failed) return failed;
    if (walked && !journal.body()) journal.set_body(mime::Body());
    return walked;
  }

 private:
  std::vector<Change> changes_;
};

class ChecksFilter final : public filter::Filter {
 public:
  ChecksFilter(checks::Rules rules, log::Logger log) : rules_(std::move(rules)), log_(std::move(log)) {}
  std::unique_ptr<filter::FilterSession> open(const filter::SessionFacts& facts) override;
  const std::string& name() const override { return name_; }
  const checks::Rules& rules() const { return rules_; }
  const log::Logger& log() const { return log_; }

 private:
  const std::string name_ = "header_checks";
  const checks::Rules rules_;
  const log::Logger log_;
};

// One message under inspection.
class Checker {
 public:
  Checker(const ChecksFilter& filter, filter::Context& context, const mime::Message& message, filter::Journal& journal)
      : filter_(filter), context_(context), message_(message), journal_(journal) {}

  Verdict run() {
    checks::Inspection inspection(filter_.rules(), [this](const auto& finding) { return take(finding); });
    for (header_ = 0; header_ < message_.headers.size() && !inspection.done(); ++header_) {
      const mime::Header& header = message_.headers[header_];
      if (header.own_received) continue;
      std::string text = header.text();
      text.erase(std::remove(text.begin(), text.end(), '\r'), text.end());
      inspection.header(text, header.name(), std::string_view(text).substr(std::min(text.size(), text.find(':') + 1)));
    }
    inspection.end_of_headers();
    if (inspection.wants_body()) {
      const auto walked = message_.body.for_each([&](std::string_view piece) {
        inspection.body(piece);
        return !inspection.done();
      });
      if (!walked) return unusable(walked.error().context);
      inspection.finish();
    }
    if (inspection.error()) return unusable(inspection.error()->context);
    if (inspection.nested_too_deep()) {
      return Verdict::reply(550, "5.6.3", "MIME nesting exceeds safety limit");
    }
    if (!body_.empty() && !verdict_.stops()) {
      if (const auto written = body_.write(message_.body, journal_); !written) return unusable(written.error().context);
    }
    if (verdict_.action == filter::Action::proceed && hold_) {
      verdict_.action = filter::Action::quarantine;
      verdict_.text = hold_text_;
      verdict_.facts.emplace_back("log", "no");
    }
    return verdict_;
  }

 private:
  // A table that failed, or a disk: the client may try again.
  Verdict unusable(const std::string& why) {
    logger().warning(fmt::format("{}: header_checks: {}", context_.envelope.queue_id, why));
    return Verdict::reply(451, "4.3.0", "Error: queue file write error");
  }

  log::Logger logger() const { return filter_.log().with_number(static_cast<unsigned>(context_.session.session_number)); }

  void log_line(std::string_view action, const checks::Inspection::Finding& finding, std::string_view text) const {
    const auto& envelope = context_.envelope;
    const std::string to = envelope.recipients.empty() ? "" : fmt::format(" to=<{}>", envelope.recipients.back().address);
    logger().info(fmt::format("{}: {}: {} {} from {}[{}]; from=<{}>{} proto={} helo=<{}>{}{}", envelope.queue_id, action,
                              finding.is_header ? "header" : "body", finding.text.substr(0, kLoggedText),
                              context_.session.client_name, context_.session.client_address, envelope.sender, to,
                              context_.session.protocol, context_.session.helo_name, text.empty() ? "" : ": ", text));
  }

  // True to go on.
  bool take(const checks::Inspection::Finding& finding) {
    const Decision& decision = finding.decision;
    auto& envelope = context_.envelope;
    switch (decision.kind) {
      case Kind::dunno: return true;
      case Kind::bad:
        logger().warning(fmt::format("{} in {} table", decision.text, finding.is_header ? "header_checks" : "body_checks"));
        return true;
      case Kind::reject:
        log_line("reject", finding, decision.enhanced + " " + decision.text);
        verdict_ = Verdict::reply(decision.code, decision.enhanced, decision.text);
        verdict_.reason_id = "header_checks";
        verdict_.facts.emplace_back("log", "no");
        return false;
      case Kind::discard:
        log_line("discard", finding, decision.text);
        verdict_.action = filter::Action::discard;
        verdict_.facts.emplace_back("log", "no");
        return false;
      case Kind::pass: log_line("pass", finding, decision.text); return false;
      case Kind::redirect:
        log_line("redirect", finding, decision.text);
        envelope.redirect = decision.text;
        return false;
      case Kind::filter:
        log_line("filter", finding, decision.text);
        envelope.content_filter = decision.text;
        return true;
      case Kind::bcc:
        log_line("bcc", finding, decision.text);
        journal_.add({Edit::Kind::add_recipient, 0, decision.text, "NOTIFY=NEVER", false});
        return true;
      case Kind::hold:
        log_line("hold", finding, decision.text);
        if (!std::exchange(hold_, true)) hold_text_ = decision.text;
        return true;
      case Kind::warn: log_line("warning", finding, decision.text); return true;
      case Kind::info: log_line("info", finding, decision.text); return true;
      case Kind::ignore: break;
      case Kind::strip: log_line("strip", finding, decision.text); break;
      case Kind::replace: log_line("replace", finding, decision.text); break;
      case Kind::prepend: log_line("prepend", finding, decision.text); break;
    }
    finding.offset ? edit_body(finding) : edit_header(finding);
    return true;
  }

  void edit_body(const checks::Inspection::Finding& finding) {
    const Decision& decision = finding.decision;
    BodyEdits::Change change{*finding.offset, finding.length, {}};
    if (decision.kind == Kind::replace || decision.kind == Kind::prepend) change.text = decision.text + "\r\n";
    if (decision.kind == Kind::prepend) change.length = 0;
    body_.add(std::move(change));
  }

  // Positions count the list as the edits before have left it.
  void edit_header(const checks::Inspection::Finding& finding) {
    const Decision& decision = finding.decision;
    const mime::Header& header = message_.headers[header_];
    const std::size_t position = header_ + static_cast<std::size_t>(shift_);
    if (decision.kind == Kind::replace || decision.kind == Kind::prepend) {
      const std::size_t colon = decision.text.find(':');
      const std::string_view name = trim(std::string_view(decision.text).substr(0, colon));
      if (colon == std::string::npos || name.empty() || name.find_first_of(" \t") != std::string_view::npos) {
        logger().warning(fmt::format("{}: bad header text in header_checks: {}", context_.envelope.queue_id, decision.text));
        return;
      }
      journal_.add({Edit::Kind::insert_header, position, std::string(name), decision.text.substr(colon + 1), true});
      ++shift_;
      added_.emplace_back(name);
    }
    if (decision.kind == Kind::prepend) return;
    // The n-th of its name now: those before it in the message that are still there, and those put before it.
    std::size_t nth = 1;
    for (std::size_t i = 0; i < header_; ++i) {
      const mime::Header& other = message_.headers[i];
      nth += !other.own_received && iequals(other.name(), header.name()) &&
             std::find(deleted_.begin(), deleted_.end(), i) == deleted_.end();
    }
    nth += static_cast<std::size_t>(
        std::count_if(added_.begin(), added_.end(), [&](const std::string& name) { return iequals(name, header.name()); }));
    journal_.add({Edit::Kind::delete_header, nth, std::string(header.name()), {}, false});
    deleted_.push_back(header_);
    --shift_;
  }

  const ChecksFilter& filter_;
  filter::Context& context_;
  const mime::Message& message_;
  filter::Journal& journal_;
  Verdict verdict_;
  BodyEdits body_;
  std::size_t header_ = 0;
  std::ptrdiff_t shift_ = 0;              // how far later headers have moved
  std::vector<std::size_t> deleted_;
  std::vector<std::string> added_;        // names
  bool hold_ = false;
  std::string hold_text_;
};

class ChecksSession final : public filter::FilterSession {
 public:
  explicit ChecksSession(const ChecksFilter& filter) : filter_(filter) {}
  Verdict at(filter::Stage, filter::Context&) override { return {}; }
  Verdict message(filter::Context& context, const mime::Message& message, filter::Journal& journal) override {
    return Checker(filter_, context, message, journal).run();
  }
  void abort() override {}

 private:
  const ChecksFilter& filter_;
};

std::unique_ptr<filter::FilterSession> ChecksFilter::open(const filter::SessionFacts&) {
  return std::make_unique<ChecksSession>(*this);
}

}  // namespace

std::shared_ptr<filter::Filter> make_content_checks(const config::Config& config, const config::Params& params,
                                                    map::TableSet& tables, const log::Logger& log,
                                                    config::Findings& findings) {
  checks::Rules rules;
  bool good = true;
  const auto open = [&](const char* parameter, const std::string& value) {
    auto maps = map::Maps::open(tables, value);
    if (maps) return std::move(*maps);
    findings.error(config.where(parameter), parameter, maps.error().context);
    good = false;
    return map::Maps();
  };
  rules.header = open("header_checks", params.header_checks);
  rules.mime_header = open("mime_header_checks", params.mime_header_checks);
  rules.nested_header = open("nested_header_checks", params.nested_header_checks);
  rules.body = open("body_checks", params.body_checks);
  rules.limits.nesting = static_cast<std::size_t>(params.mime_nesting_limit);
  rules.limits.boundary_length = static_cast<std::size_t>(params.mime_boundary_length_limit);
  rules.limits.header_size = static_cast<std::size_t>(params.header_size_limit);
  rules.limits.line_length = static_cast<std::size_t>(params.line_length_limit);
  rules.body_size_limit = static_cast<std::uint64_t>(params.body_checks_size_limit);
  rules.structure = !params.disable_mime_input_processing;
  if (!good || rules.empty()) return nullptr;
  return std::make_shared<ChecksFilter>(std::move(rules), log);
}

}  // namespace millrace::daemon
