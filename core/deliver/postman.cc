#include "core/deliver/postman.h"

#include <algorithm>

#include "core/base/strings.h"
#include "core/deliver/address.h"
#include "core/mime/verp.h"

namespace millrace::deliver {

namespace {
// Does this recipient's NOTIFY ask for (or, unset, allow) a notice of the kind?
bool wanted(unsigned notify, mime::Notify kind, bool by_default) {
  return notify == 0 ? by_default : (notify & kind) != 0;
}

std::vector<std::size_t> pick(const queue::Entry& entry, const std::vector<std::size_t>& from, mime::Notify kind) {
  std::vector<std::size_t> out;
  for (const std::size_t i : from) {
    if (wanted(entry.recipients[i].recipient.notify, kind, true)) out.push_back(i);
  }
  return out;
}

NoticeRecipient name(const mime::Recipient& recipient) {
  NoticeRecipient out;
  out.address = recipient.address;
  if (!recipient.original.empty() && !iequals(recipient.original, recipient.address)) out.expanded_from = recipient.original;
  const std::string& given = recipient.original.empty() ? recipient.address : recipient.original;
  out.original = recipient.orcpt.empty() ? "rfc822;" + quote_821(given) : decode_orcpt(recipient.orcpt);
  return out;
}

const char* log_name(Notice::Kind kind) {
  switch (kind) {
    case Notice::Kind::failure: return " non-delivery notification: ";
    case Notice::Kind::delay: return " delay notification: ";
    case Notice::Kind::success:
    case Notice::Kind::verify: break;
  }
  return " delivery status notification: ";
}
}  // namespace

Postman::Postman(PostmanRules rules, queue::Store& store, const rewrite::Router& router, Stored stored)
    : rules_(std::move(rules)), store_(store), router_(router), stored_(std::move(stored)) {}

const Template& Postman::form(Notice::Kind kind) const {
  switch (kind) {
    case Notice::Kind::failure: return rules_.templates.failure;
    case Notice::Kind::delay: return rules_.templates.delay;
    case Notice::Kind::success: return rules_.templates.success;
    case Notice::Kind::verify: break;
  }
  return rules_.templates.verify;
}

std::vector<NoticeRecipient> Postman::describe(const queue::Entry& entry, const std::vector<std::size_t>& which) const {
  std::vector<NoticeRecipient> out;
  for (const std::size_t i : which) {
    const queue::RecipientState& state = entry.recipients[i];
    NoticeRecipient& one = out.emplace_back(name(state.recipient));
    one.action = state.action;
    one.dsn = state.dsn;
    one.reason = state.reason;
    one.remote_mta = state.remote_mta;
    one.diagnostic = state.diagnostic;
    if (state.action == "delayed") {
      one.retry_until = entry.envelope.arrival + std::chrono::microseconds(rules_.lifetime).count();
    }
  }
  return out;
}

// Of a success: was it asked for, or does it end a delay that was told?
bool Postman::is_told(const queue::Entry& entry, const Report& report) const {
  const unsigned notify = entry.recipients[report.recipient].recipient.notify;
  if (rules_.confirm_delay_cleared && entry.delay_warned && wanted(notify, mime::kNotifyDelay, true)) return true;
  return !report.next_hop_reports && wanted(notify, mime::kNotifySuccess, false);
}

bool Postman::has_news(const Story& story) const {
  if (!story.failed.empty() || !story.delayed.empty() || !story.traced.empty()) return true;
  if (story.first_pass && !story.entry->envelope.expanded.empty()) return true;
  return std::any_of(story.succeeded.begin(), story.succeeded.end(),
                     [&](const Report& report) { return is_told(*story.entry, report); });
}

Result<void> Postman::send(const Story& story) {
  if (auto ok = tell_failed(story); !ok) return ok;
  if (auto ok = tell_delayed(story); !ok) return ok;
  return tell_reported(story);
}

Result<void> Postman::tell_failed(const Story& story) {
  if (story.failed.empty()) return {};
  const queue::Entry& entry = *story.entry;
  const mime::Envelope& about = entry.envelope;
  if (entry.double_bounce || iequals(about.sender, rules_.double_bounce_sender)) {
    rules_.bounce_log.warning(about.queue_id + ": undeliverable postmaster notification discarded");
    return {};
  }
  if (about.sender.empty()) {
    if (!rules_.tell_double_bounces) return {};
    return post(story, {Notice::Kind::failure, rules_.double_bounce_to, true, true, describe(entry, story.failed)});
  }
  if (!about.verp.empty() && rules_.verp) return tell_each_failed(story);
  const auto list = pick(entry, story.failed, mime::kNotifyFailure);
  if (!list.empty()) {
    if (auto ok = post(story, {Notice::Kind::failure, about.sender, false, true, describe(entry, list)}); !ok) return ok;
  }
  if (!rules_.tell_bounces) return {};
  return post(story, {Notice::Kind::failure, rules_.bounce_to, true, false, describe(entry, story.failed)});
}

// VERP: a notice for each, to the sender that this recipient's copy had.
Result<void> Postman::tell_each_failed(const Story& story) {
  const queue::Entry& entry = *story.entry;
  for (const std::size_t one : story.failed) {
    const mime::Recipient& recipient = entry.recipients[one].recipient;
    const std::string to = mime::verp_sender(entry.envelope.sender, entry.envelope.verp,
                                             recipient.original.empty() ? recipient.address : recipient.original);
    if (wanted(recipient.notify, mime::kNotifyFailure, true)) {
      if (auto ok = post(story, {Notice::Kind::failure, to, false, true, describe(entry, {one})}); !ok) return ok;
    }
    if (!rules_.tell_bounces) continue;
    if (auto ok = post(story, {Notice::Kind::failure, rules_.bounce_to, true, false, describe(entry, {one})}); !ok) return ok;
  }
  return {};
}

Result<void> Postman::tell_delayed(const Story& story) {
  const queue::Entry& entry = *story.entry;
  const std::string& sender = entry.envelope.sender;
  if (story.delayed.empty() || sender.empty() || iequals(sender, rules_.double_bounce_sender)) return {};
  const auto list = pick(entry, story.delayed, mime::kNotifyDelay);
  if (!list.empty()) {
    if (auto ok = post(story, {Notice::Kind::delay, sender, false, false, describe(entry, list)}); !ok) return ok;
  }
  if (!rules_.tell_delays) return {};
  return post(story, {Notice::Kind::delay, rules_.delay_to, true, false, describe(entry, story.delayed)});
}

// A line of a trace about one of those that a recipient stands for: an alias has several, each with its own fate.
void Postman::trace_part(const mime::Envelope& about, const Outcome& outcome, NoticeRecipient& one) const {
  if (!outcome.final_recipient.empty()) {
    one.expanded_from = one.address;
    one.address = outcome.final_recipient;
  }
  using Status = Outcome::Status;
  one.action = about.trace == mime::Trace::verify ? (outcome.status == Status::sent ? "deliverable" : "undeliverable")
               : outcome.status == Status::sent   ? (outcome.last_hop ? "delivered" : "relayed")
               : outcome.status == Status::bounced ? "failed"
                                                   : "delayed";
  one.dsn = outcome.dsn;
  one.reason = outcome.text;
  one.remote_mta = outcome.remote_mta;
  one.diagnostic = outcome.diagnostic;
}

// What trace(8) tells: successes that were asked for, and everything when the message is traced.
Result<void> Postman::tell_reported(const Story& story) {
  const queue::Entry& entry = *story.entry;
  const mime::Envelope& about = entry.envelope;
  std::vector<NoticeRecipient> list;
  const bool traced = !story.traced.empty();
  if (story.first_pass) {
    for (const mime::Recipient& alias : about.expanded) {
      NoticeRecipient one = name(alias);
      one.expanded_from.clear();
      one.action = "expanded";
      one.dsn = "2.0.0";
      one.reason = "alias expanded";
      list.push_back(std::move(one));
    }
  }
  for (const Report& report : traced ? story.traced : story.succeeded) {
    if (!traced && !is_told(entry, report)) continue;
    NoticeRecipient one = std::move(describe(entry, {report.recipient}).front());
    one.retry_until = 0;
    if (report.outcome != nullptr) trace_part(about, *report.outcome, one);
    if (one.diagnostic.empty()) one.diagnostic = "X-" + rules_.mail_name + "; " + one.reason;
    if (!report.relay.empty()) one.reason = "delivery via " + report.relay + ": " + one.reason;
    list.push_back(std::move(one));
  }
  if (list.empty()) return {};
  if (about.sender.empty() || iequals(about.sender, rules_.double_bounce_sender)) {
    rules_.bounce_log.info(about.queue_id + ": not sending trace/success notification for " +
                           (about.sender.empty() ? "single-bounce" : "double-bounce") + " message");
    return {};
  }
  return post(story, {traced ? Notice::Kind::verify : Notice::Kind::success, about.sender, false, false, std::move(list)});
}

Result<std::string> Postman::original(const Story& story, bool headers_only) const {
  if (story.content == nullptr) return std::string();   // the content is damaged: the notice goes out without
  // The header section has a bound (core/mime/builder.h); this one is for what came in another way.
  const std::uint64_t most = headers_only ? 2 * 1024 * 1024 : story.content->size();
  std::string out;
  while (out.size() < most) {
    const std::size_t start = out.size();
    out.resize(start + std::min<std::uint64_t>(65536, most - start));
    const auto got = story.content->read_at(start, std::span<char>(out).subspan(start));
    if (!got) return tl::unexpected(got.error());
    out.resize(start + *got);
    if (*got == 0) break;
    const std::size_t end = headers_only ? out.find("\r\n\r\n", start < 3 ? 0 : start - 3) : out.npos;
    if (end != out.npos) {
      out.resize(end + 2);
      break;
    }
  }
  return out;
}

// Who gets the notice, after rewriting: several, where the address is an alias of several.
Result<queue::Entry> Postman::envelope(const Notice& notice, bool to_postmaster) const {
  queue::Entry made;
  mime::Envelope& is = made.envelope;
  is.queue_id = notice.queue_id;
  is.sender = to_postmaster ? rules_.double_bounce_sender : "";
  is.body = is_eight_bit(notice) ? mime::BodyType::eight_bit : mime::BodyType::seven_bit;
  is.smtputf8 = notice.smtputf8;
  is.arrival = made.queued = notice.now;
  mime::Recipient recipient;
  recipient.address = notice.to;
  if (!is_ascii(notice.to)) recipient.orcpt = "utf-8;" + uxtext_encode(quote_821(notice.to));
  is.recipients.push_back(std::move(recipient));
  if (rules_.cleanup != nullptr) {
    if (auto ok = rules_.cleanup->envelope(is, true, false); !ok) return tl::unexpected(ok.error());
    // Sent with an empty sender or ours: canonical tables must not make it somebody's.
    if (!to_postmaster) is.sender.clear();
  }
  for (mime::Recipient& one : std::exchange(is.recipients, {})) {
    if (one.original.empty()) one.original = one.address;
    made.recipients.emplace_back().recipient = std::move(one);
  }
  made.single_bounce = !to_postmaster;
  made.double_bounce = to_postmaster;
  return made;
}

// The header section of `text`, its addresses completed and mapped.
Result<void> Postman::complete_headers(std::string& text) const {
  if (rules_.cleanup == nullptr) return {};
  const std::size_t end = text.find("\r\n\r\n");
  mime::Message head;
  std::string_view rest = std::string_view(text).substr(0, end + 2);
  while (!rest.empty()) {
    std::size_t stop = rest.find("\r\n");
    while (stop + 2 < rest.size() && (rest[stop + 2] == ' ' || rest[stop + 2] == '\t')) stop = rest.find("\r\n", stop + 2);
    const std::string_view field = rest.substr(0, stop);
    head.headers.emplace_back(std::string(field), field.find(':'));
    rest.remove_prefix(stop + 2);
  }
  if (auto ok = rules_.cleanup->headers(head, rewrite::Cleanup::HeaderContext::local, true); !ok) return ok;
  text.replace(0, end + 4, head.header_text());
  return {};
}

Result<void> Postman::post(const Story& story, Letter letter) {
  const queue::Entry& entry = *story.entry;
  auto number = store_.reserve_ids(1);
  if (!number) return tl::unexpected(number.error());

  Notice notice;
  notice.kind = letter.kind;
  notice.to_postmaster = letter.to_postmaster;
  notice.form = &form(letter.kind);
  notice.host = rules_.host;
  notice.mail_name = rules_.mail_name;
  notice.now = wall_now();
  notice.queue_id = queue::format_queue_id(*number, notice.now, rules_.long_queue_ids);
  notice.long_queue_ids = rules_.long_queue_ids;
  notice.to = router_.rewrite(letter.to);
  notice.about_id = entry.envelope.queue_id;
  notice.about_sender = entry.envelope.sender;
  notice.about_envid = xtext_decode(entry.envelope.envid).value_or("");
  notice.about_arrival = entry.envelope.arrival;
  notice.smtputf8 = entry.envelope.smtputf8;
  notice.utf8_texts = rules_.utf8_texts;
  notice.recipients = std::move(letter.recipients);
  // RET says how much of a failed message comes back (RFC 3461 section 4.3); other notices need only tell which.
  notice.headers_only = !letter.whole || entry.envelope.ret == mime::Ret::headers ||
                        (story.content != nullptr && story.content->size() > rules_.size_limit);
  auto text = original(story, notice.headers_only);
  if (!text) return tl::unexpected(text.error());
  notice.original = *text;
  if (rules_.threaded) notice.thread_id = message_id_of(*text);

  auto made = envelope(notice, letter.to_postmaster);
  if (!made) return tl::unexpected(made.error());
  std::string built = build_notice(notice);
  if (auto ok = complete_headers(built); !ok) return ok;
  if (rules_.inspect) {
    const auto wanted = rules_.inspect(*made, built, letter.to_postmaster);
    if (!wanted) return tl::unexpected(wanted.error());
    if (!*wanted) return {};
  }
  auto content = std::make_shared<const std::string>(std::move(built));
  made->envelope.size = content->size();
  if (auto ok = store_.add(*made, *content, -1); !ok) return ok;

  rules_.cleanup_log.info(notice.queue_id + ": message-id=" + notice_message_id(notice));
  rules_.bounce_log.info(entry.envelope.queue_id + (letter.to_postmaster ? ": postmaster" : ": sender") +
                         log_name(letter.kind) + notice.queue_id);
  stored_(std::move(*made), std::move(content));
  return {};
}

}  // namespace millrace::deliver
