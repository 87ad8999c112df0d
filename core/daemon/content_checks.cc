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
constexpr std::size_t kNotes = 100;        // changes of headers that the trace tells
constexpr std::size_t kLoggedFault = 100;  // and of what is wrong with its structure

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
    checks::Inspection inspection(
        filter_.rules(), [this](const auto& finding) { return take(finding); },
        [this](checks::MimeFault fault, std::string_view text) { log_fault(fault, text); });
    for (header_ = 0; header_ < message_.headers.size() && !inspection.done(); ++header_) {
      const mime::Header& header = message_.headers[header_];   // our own Received too: hiding it is a common rule
      if (header.generated) continue;
      std::string text = header.text();
      text.erase(std::remove(text.begin(), text.end(), '\r'), text.end());
      inspection.header(text, header.name(), std::string_view(text).substr(std::min(text.size(), text.find(':') + 1)));
    }
    if (headers_) headers_->insert(headers_->end(), message_.headers.begin() + static_cast<std::ptrdiff_t>(copied_), message_.headers.end());
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
    if (inspection.faults() != 0 && !verdict_.stops()) {
      // The first of them in the order of their bits.
      const auto fault = static_cast<checks::MimeFault>(inspection.faults() & (~inspection.faults() + 1));
      verdict_ = Verdict::reply(550, "5.6.0", std::string(checks::mime_fault_text(fault)));
      verdict_.reason_id = "mime-error";
      verdict_.facts.emplace_back("log", "no");
    }
    if (!verdict_.refuses() && verdict_.action != filter::Action::discard) {
      if (headers_) journal_.set_headers(std::move(*headers_), std::move(notes_));
      if (!filter_to_.empty()) context_.envelope.content_filter = filter_to_;
      for (filter::Edit& edit : copies_) journal_.add(std::move(edit));
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

  static std::string_view parameter_of(const checks::Inspection::Finding& finding) {
    if (!finding.is_header) return "body_checks";
    switch (finding.header_class) {
      case checks::HeaderClass::mime: return "mime_header_checks";
      case checks::HeaderClass::nested: return "nested_header_checks";
      case checks::HeaderClass::primary: break;
    }
    return "header_checks";
  }

  void log_fault(checks::MimeFault fault, std::string_view text) const {
    const auto& envelope = context_.envelope;
    logger().info(fmt::format("{}: reject: mime-error {}: {} from {}[{}]; from=<{}> to=<{}>", envelope.queue_id,
                              checks::mime_fault_text(fault), text.substr(0, kLoggedFault), context_.session.client_name,
                              context_.session.client_address, envelope.sender,
                              envelope.recipients.empty() ? "unknown" : envelope.recipients.back().address));
  }

  void log_line(std::string_view action, const checks::Inspection::Finding& finding, std::string_view text) const {
    const auto& envelope = context_.envelope;
    const std::string to = envelope.recipients.empty() ? "" : fmt::format(" to=<{}>", envelope.recipients.back().address);
    const std::string subject = fmt::format("{}: {}: {} {}", envelope.queue_id, action, finding.is_header ? "header" : "body",
                                            finding.text.substr(0, kLoggedText));
    if (envelope.client_address.empty()) {   // of a local user
      return logger().info(fmt::format("{} from local; from=<{}>{}{}{}", subject, envelope.sender, to,
                                       text.empty() ? "" : ": ", text));
    }
    logger().info(fmt::format("{} from {}[{}]; from=<{}>{} proto={} helo=<{}>{}{}", subject,
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
        logger().warning(decision.complaint(parameter_of(finding)));
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
      case Kind::pass:
        log_line("pass", finding, decision.text);
        journal_.no_milters = true;
        return false;
      case Kind::redirect:
        log_line("redirect", finding, decision.text);
        journal_.no_milters = true;
        envelope.redirect = decision.text;
        return false;
      case Kind::filter:
        log_line("filter", finding, decision.text);
        filter_to_ = decision.text;
        return true;
      case Kind::bcc:
        log_line("bcc", finding, decision.text);
        copies_.push_back({Edit::Kind::add_recipient, 0, decision.text, "NOTIFY=NEVER", false});
        return true;
      case Kind::hold:
        if (std::exchange(hold_, true)) return true;   // told once
        log_line("hold", finding, decision.text);
        hold_text_ = decision.text;
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

  // The section is copied with the first change; what was not asked about yet follows at the end.
  void edit_header(const checks::Inspection::Finding& finding) {
    const Decision& decision = finding.decision;
    const mime::Header& header = message_.headers[header_];
    std::optional<mime::Header> fresh;
    if (decision.kind == Kind::replace || decision.kind == Kind::prepend) {
      const std::size_t colon = decision.text.find(':');
      const std::string_view name = trim(std::string_view(decision.text).substr(0, colon));
      fresh.emplace(fmt::format("{}:{}", name, std::string_view(decision.text).substr(colon + 1)), name.size());
      fresh->own_received = header.own_received && decision.kind == Kind::replace;   // still not for milters
    }
    if (!headers_) headers_.emplace();
    const auto begin = message_.headers.begin();
    headers_->insert(headers_->end(), begin + static_cast<std::ptrdiff_t>(copied_), begin + static_cast<std::ptrdiff_t>(header_));
    copied_ = header_ + 1;
    if (fresh) {
      note("add header " + fresh->text());
      headers_->push_back(std::move(*fresh));
    }
    if (decision.kind == Kind::prepend) {
      headers_->push_back(header);
    } else {
      note("delete header " + std::string(header.name()));
    }
  }

  void note(std::string text) {
    if (notes_.size() < kNotes) notes_.push_back(std::move(text));
  }

  const ChecksFilter& filter_;
  filter::Context& context_;
  const mime::Message& message_;
  filter::Journal& journal_;
  Verdict verdict_;
  BodyEdits body_;
  std::size_t header_ = 0;
  std::optional<std::vector<mime::Header>> headers_;   // the section as edited, up to copied_ of the old one
  std::size_t copied_ = 0;
  std::vector<std::string> notes_;
  std::vector<filter::Edit> copies_;      // BCC
  std::string filter_to_;
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
  if (!rules.header.empty() || !rules.mime_header.empty() || !rules.nested_header.empty()) rules.faults |= checks::kNestingFault;
  if (params.strict_8bitmime || params.strict_7bit_headers) rules.faults |= checks::kEightBitHeaderFault;
  if (params.strict_8bitmime || params.strict_8bitmime_body) rules.faults |= checks::kEightBitBodyFault;
  if (params.strict_mime_encoding_domain) rules.faults |= checks::kEncodingDomainFault;
  if (!good || (!rules.has_tables() && rules.faults == 0)) return nullptr;
  return std::make_shared<ChecksFilter>(std::move(rules), log);
}

}  // namespace millrace::daemon
