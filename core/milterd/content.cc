// The content of a message, and what a milter asks for at its end: see conversation.h.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "core/base/strings.h"
#include "core/milter/wire.h"
#include "core/milterd/conversation.h"
#include "core/milterd/edits.h"
#include "core/milterd/events.h"
#include "core/mime/builder.h"
#include "core/mime/received.h"
#include "core/rewrite/router.h"

namespace millrace::milterd {

using filter::Action;
using filter::Stage;
using filter::Verdict;
namespace reply = milter::answer;
namespace bits = milter::protocol;

namespace {

std::string path(std::string_view address) { return "<" + (address.empty() ? "" : rewrite::quote_local(address)) + ">"; }

}  // namespace

bool Conversation::header(std::string_view data) {
  Transaction& current = transaction();
  auto field = parse_header(data, (protocol_ & bits::kLeadingSpace) != 0);
  if (!field) return false;
  current.header_size += field->text().size() + 2;
  if (current.header_size > door_.options_.header_limit) {
    current.trouble = Verdict::reply(552, "5.3.4", "header section is too large for the content filter");
  } else {
    current.headers.push_back(std::move(*field));
  }
  if ((protocol_ & bits::kNoReplyHeader) == 0) answer(reply::kContinue);
  return true;
}

void Conversation::body(std::string_view data) {
  std::string canonical;
  transaction().canonicalizer.add(data, canonical);
  keep(canonical);
}

void Conversation::keep(std::string_view bytes) {
  Transaction& current = transaction();
  if (current.trouble) return;
  if (door_.options_.body_limit > 0 && current.body.size() + bytes.size() > door_.options_.body_limit) {
    current.trouble = Verdict::reply(552, "5.3.4", "message is too large for the content filter");
  } else if (const auto kept = current.body.append(bytes); !kept) {
    log_.warning("message body not kept: " + kept.error().context);
    current.trouble = Verdict::reply(451, "4.3.1", "content filter: no space");
  }
}

bool Conversation::end_of_message(std::string_view data) {
  Transaction& current = transaction();
  if (!data.empty()) body(data);   // an MTA may send the last piece with the event
  std::string rest;
  current.canonicalizer.finish(rest);
  keep(rest);
  const Verdict verdict = current.trouble ? *current.trouble : judge();
  if (verdict.refuses() || current.discard) {
    current.discard ? answer(reply::kDiscard) : answer(Stage::eom, verdict);
  } else if (verdict.action == Action::discard) {
    answer(reply::kDiscard);
  } else {
    answer(reply::kContinue);
  }
  end_transaction();
  return true;
}

// The message as it came, to be compared with what the chain makes of it.
struct Conversation::Before {
  Before(const mime::Message& message, const mime::Envelope& envelope)
      : headers(message.headers), recipients(envelope.recipients), sender(envelope.sender), content_filter(envelope.content_filter),
        text(message.body.spilled() ? std::string() : message.body.memory()), file(message.body.spilled() ? ::dup(message.body.fd()) : -1) {}
  ~Before() {
    if (file >= 0) ::close(file);
  }
  Before(const Before&) = delete;

  bool same_body(const mime::Body& body) const {
    if (file < 0) return !body.spilled() && body.memory() == text;
    // A body is written once: the same file is the same body.  Ours is kept open, so no other can have its number.
    struct stat ours {}, theirs {};
    return body.spilled() && ::fstat(file, &ours) == 0 && ::fstat(body.fd(), &theirs) == 0 && ours.st_ino == theirs.st_ino &&
           ours.st_dev == theirs.st_dev;
  }

  std::vector<mime::Header> headers;
  std::vector<mime::Recipient> recipients;
  std::string sender, content_filter, text;
  int file;
};

// Asks the chain about the message; edits are in the output when the answer is no refusal.
Verdict Conversation::judge() {
  Transaction& current = transaction();
  learn();
  mime::Envelope& envelope = current.envelope;
  const filter::SessionFacts& facts = session().facts;
  mime::ReceivedFacts received;
  received.helo = facts.helo_name;
  received.client_name = facts.client_name;
  received.client_address = facts.client_address;
  received.protocol = facts.protocol;
  received.host = macro("j").empty() ? door_.options_.host_name : printable(macro("j"));
  received.mail_name = door_.options_.mail_name;
  received.queue_id = envelope.queue_id;
  received.when = envelope.arrival;
  mime::Message message{{}, std::move(current.body)};
  message.headers.push_back(mime::make_received(received));   // in the place of the MTA's own
  message.headers.front().own_received = true;
  for (mime::Header& one : current.headers) message.headers.push_back(std::move(one));
  envelope.size = message.size();
  const Before before(message, envelope);
  if (message.body.spilled() && before.file < 0) return Verdict::reply(451, "4.3.0", "content filter: no descriptor");

  filter::Context context{.session = facts, .envelope = envelope};
  context.deadline = Deadline::after(door_.options_.message_time);
  context.log = &log_;
  Verdict verdict = session().filters.message(context, message, door_.options_.spool_directory);
  if (verdict.refuses() || verdict.action == Action::discard || current.discard) return verdict;
  if (verdict.action == Action::quarantine) current.hold = verdict.text;
  if ((verdict.action == Action::quarantine || envelope.hold) && current.hold.empty()) {
    current.hold = envelope.hold_reason.empty() ? kHeld : envelope.hold_reason;
  }
  const std::size_t begun = connection_.output().size();
  if (Verdict refused = ask_for_edits(before, message); refused.refuses()) {
    connection_.output().resize(begun);
    return refused;
  }
  return verdict;
}

Verdict Conversation::ask_for_edits(const Before& before, mime::Message& message) {
  Transaction& current = transaction();
  mime::Envelope& envelope = current.envelope;
  const std::string queue = envelope.queue_id.empty() ? "" : envelope.queue_id + ": ";
  const Verdict refused = Verdict::reply(451, "4.3.5", "content filter configuration problem");
  if (envelope.content_filter != before.content_filter) {
    log_.warning(queue + "a milter cannot ask for the content filter " + printable(envelope.content_filter));
    return refused;
  }
  if (!envelope.redirect.empty()) envelope.recipients = {{envelope.redirect, envelope.redirect, "", 0}};
  std::string& out = connection_.output();
  bool allowed = true;
  const auto may = [&](std::uint32_t action, const char* what) {
    if (allowed && (actions_ & action) == 0) {
      log_.warning(queue + "the MTA does not let a milter " + what);
      allowed = false;
    }
    return allowed;
  };
  std::vector<mime::Header> after;
  for (const std::string& line : current.prepend) {
    const std::size_t length = mime::header_name_length(line);
    if (length > 0) after.push_back(mime::Header::make(line.substr(0, length), trim(std::string_view(line).substr(line.find(':') + 1))));
  }
  std::move(message.headers.begin(), message.headers.end(), std::back_inserter(after));
  const bool space = (protocol_ & bits::kLeadingSpace) != 0;
  for (const HeaderStep& step : header_steps(before.headers, after)) {
    const bool insert = step.kind == HeaderStep::Kind::insert;
    if (!may(insert ? action::kAddHeaders : action::kChangeHeaders, insert ? "add headers" : "change headers")) return refused;
    milter::PacketWriter(out, insert ? reply::kInsertHeader : reply::kChangeHeader)
        .u32(static_cast<std::uint32_t>(step.index))
        .text(step.header->name())
        .text(step.kind == HeaderStep::Kind::remove ? std::string() : step.header->milter_value(space));
  }
  if (envelope.sender != before.sender) {
    if (!may(action::kChangeFrom, "change the sender")) return refused;
    milter::PacketWriter(out, reply::kChangeFrom).text(path(envelope.sender));
  }
  const auto has = [](const std::vector<mime::Recipient>& list, const std::string& address) {
    return std::any_of(list.begin(), list.end(), [&](const mime::Recipient& one) { return one.address == address; });
  };
  for (const mime::Recipient& one : before.recipients) {
    if (has(envelope.recipients, one.address)) continue;
    if (!may(action::kDeleteRecipients, "delete recipients")) return refused;
    milter::PacketWriter(out, reply::kDeleteRcpt).text(current.typed[one.address]);
  }
  for (const mime::Recipient& one : envelope.recipients) {
    if (has(before.recipients, one.address)) continue;
    if (!may(action::kAddRecipients, "add recipients")) return refused;
    milter::PacketWriter(out, reply::kAddRcpt).text(path(one.address));
  }
  if (!current.hold.empty()) {
    if (!may(action::kQuarantine, "hold mail")) return refused;
    milter::PacketWriter(out, reply::kQuarantine).text(printable(current.hold));
  }
  if (before.same_body(message.body)) return {};
  if (!may(action::kChangeBody, "change the body")) return refused;
  if (!send_body(message.body)) {
    log_.warning(queue + "the new body could not be sent");
    connection_.close();   // half a body must not be taken for one
  }
  return {};
}

bool Conversation::send_body(const mime::Body& body) {
  if (body.size() == 0) milter::encode(reply::kReplaceBody, {}, connection_.output());
  std::vector<char> piece(milter::kBodyPiece);
  for (std::uint64_t at = 0; at < body.size();) {
    const auto n = body.read_at(at, piece);
    if (!n || *n == 0) return false;
    milter::encode(reply::kReplaceBody, {piece.data(), *n}, connection_.output());
    at += *n;
    if (!connection_.flush_if_large(Deadline::after(kWriteTime))) return false;
  }
  return true;
}

}  // namespace millrace::milterd
