#include "core/deliver/postman.h"

#include "core/base/strings.h"
#include "core/deliver/address.h"

namespace millrace::deliver {

namespace {
// Does this recipient's NOTIFY ask for (or, unset, allow) a notice of the kind?
bool wanted(unsigned notify, mime::Notify kind, bool by_default) {
  return notify == 0 ? by_default : (notify & kind) != 0;
}
}  // namespace

Postman::Postman(PostmanRules rules, queue::Store& store, const rewrite::Router& router, Stored stored)
    : rules_(std::move(rules)), store_(store), router_(router), stored_(std::move(stored)) {}

Result<void> Postman::send(const Story& story) {
  const mime::Envelope& about = story.entry->envelope;
  const auto notify = [&](std::size_t i) { return story.entry->recipients[i].recipient.notify; };
  const auto pick = [&](const std::vector<std::size_t>& from, mime::Notify kind, bool by_default) {
    std::vector<std::size_t> out;
    for (const std::size_t i : from) {
      if (wanted(notify(i), kind, by_default)) out.push_back(i);
    }
    return out;
  };

  if (!story.failed.empty()) {
    if (story.entry->double_bounce || iequals(about.sender, rules_.double_bounce_sender)) {
      rules_.bounce_log.warning(about.queue_id + ": undeliverable postmaster notification discarded");
    } else if (about.sender.empty()) {
      if (rules_.tell_double_bounces) {
        if (auto ok = post(story, Notice::Kind::failure, story.failed, rules_.double_bounce_to, true); !ok) return ok;
      }
    } else {
      const auto list = pick(story.failed, mime::kNotifyFailure, true);
      if (!list.empty()) {
        if (auto ok = post(story, Notice::Kind::failure, list, about.sender, false); !ok) return ok;
      }
      if (rules_.tell_bounces) {
        if (auto ok = post(story, Notice::Kind::failure, story.failed, rules_.bounce_to, true); !ok) return ok;
      }
    }
  }
  const bool answerable = !about.sender.empty() && !iequals(about.sender, rules_.double_bounce_sender);
  if (!answerable) return {};
  const auto late = pick(story.delayed, mime::kNotifyDelay, true);
  if (!late.empty()) {
    if (auto ok = post(story, Notice::Kind::delay, late, about.sender, false); !ok) return ok;
  }
  if (!story.delayed.empty() && rules_.tell_delays) {
    if (auto ok = post(story, Notice::Kind::delay, story.delayed, rules_.delay_to, true); !ok) return ok;
  }
  const auto happy = pick(story.succeeded, mime::kNotifySuccess, false);
  if (!happy.empty()) {
    if (auto ok = post(story, Notice::Kind::success, happy, about.sender, false); !ok) return ok;
  }
  return {};
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

Result<void> Postman::post(const Story& story, Notice::Kind kind, const std::vector<std::size_t>& recipients,
                           const std::string& to, bool to_postmaster) {
  const queue::Entry& entry = *story.entry;
  auto number = store_.reserve_ids(1);
  if (!number) return tl::unexpected(number.error());

  Notice notice;
  notice.kind = kind;
  notice.to_postmaster = to_postmaster;
  notice.host = rules_.host;
  notice.mail_name = rules_.mail_name;
  notice.now = wall_now();
  notice.queue_id = queue::format_queue_id(*number, notice.now, rules_.long_queue_ids);
  notice.long_queue_ids = rules_.long_queue_ids;
  notice.to = router_.rewrite(to);
  notice.about_id = entry.envelope.queue_id;
  notice.about_sender = entry.envelope.sender;
  notice.about_envid = xtext_decode(entry.envelope.envid).value_or("");
  notice.about_arrival = entry.envelope.arrival;
  notice.smtputf8 = entry.envelope.smtputf8;
  notice.delay_hours = static_cast<long>(rules_.delay_warning.count() / 3600);
  notice.lifetime_days = static_cast<long>(rules_.lifetime.count() / 86400);
  for (const std::size_t i : recipients) {
    const queue::RecipientState& state = entry.recipients[i];
    NoticeRecipient one;
    one.address = state.recipient.address;
    const std::string& given = state.recipient.original.empty() ? state.recipient.address : state.recipient.original;
    one.original = state.recipient.orcpt.empty() ? "rfc822;" + quote_821(given)
                                                 : xtext_decode(state.recipient.orcpt).value_or("");
    one.action = state.action;
    one.dsn = state.dsn;
    one.reason = state.reason;
    one.remote_mta = state.remote_mta;
    one.diagnostic = state.diagnostic;
    notice.recipients.push_back(std::move(one));
  }
  // RET says how much of a failed message comes back (RFC 3461 section 4.3); other notices need only tell which.
  notice.headers_only = to_postmaster || entry.envelope.ret == mime::Ret::headers ||
                        (kind != Notice::Kind::failure && entry.envelope.ret != mime::Ret::full) ||
                        (story.content != nullptr && story.content->size() > rules_.size_limit);
  auto text = original(story, notice.headers_only);
  if (!text) return tl::unexpected(text.error());
  notice.original = *text;

  std::string text_of_notice = build_notice(notice);
  queue::Entry made;
  made.envelope.queue_id = notice.queue_id;
  made.envelope.sender = to_postmaster ? rules_.double_bounce_sender : "";
  made.envelope.body = mime::BodyType::eight_bit;
  made.envelope.smtputf8 = notice.smtputf8;
  made.envelope.arrival = notice.now;
  queue::RecipientState recipient;
  recipient.recipient.address = notice.to;
  recipient.recipient.original = notice.to;
  made.recipients.push_back(std::move(recipient));
  made.queued = notice.now;
  made.single_bounce = !to_postmaster;
  made.double_bounce = to_postmaster;
  if (rules_.inspect) {
    const auto wanted = rules_.inspect(made, text_of_notice, to_postmaster);
    if (!wanted) return tl::unexpected(wanted.error());
    if (!*wanted) return {};
  }
  made.envelope.size = text_of_notice.size();
  auto content = std::make_shared<const std::string>(std::move(text_of_notice));
  if (auto ok = store_.add(made, *content, -1); !ok) return ok;

  rules_.cleanup_log.info(notice.queue_id + ": message-id=" + notice_message_id(notice));
  const char* what = kind == Notice::Kind::failure ? " non-delivery notification: "
                     : kind == Notice::Kind::delay ? " delay notification: "
                                                   : " delivery status notification: ";
  rules_.bounce_log.info(entry.envelope.queue_id + (to_postmaster ? ": postmaster" : ": sender") + what + notice.queue_id);
  stored_(std::move(made), std::move(content));
  return {};
}

}  // namespace millrace::deliver
