// Headers, body and end of message, and the edits a filter asks for then: see session.h.
#include "core/base/strings.h"
#include "core/milter/client.h"
#include "core/rewrite/address_list.h"

namespace millrace::milter {
namespace {

using filter::Action;
using filter::Edit;
using filter::Verdict;
namespace bits = protocol;

constexpr EventRule kHeaderRule{event::kHeader, bits::kNoHeaders, bits::kNoReplyHeader, MacroStage::end_of_headers};
constexpr EventRule kEndOfHeadersRule{event::kEndOfHeaders, bits::kNoEndOfHeaders, bits::kNoReplyEndOfHeaders,
                                      MacroStage::end_of_headers};
constexpr EventRule kBodyRule{event::kBody, bits::kNoBody, bits::kNoReplyBody, MacroStage::end_of_message};
constexpr EventRule kEndOfMessageRule{event::kEndOfMessage, 0, 0, MacroStage::end_of_message};

// Filters write addresses as they stand in header fields; the first counts.
std::string first_address(std::string_view text) {
  constexpr std::size_t kTokens = 1000;
  const auto found = rewrite::find_addresses(text, kTokens);
  if (found.empty()) return {};
  const std::string address = rewrite::internal_text(found.front());
  const std::size_t colon = address.starts_with('@') ? address.find(':') : address.npos;   // a source route
  return colon == address.npos ? address : address.substr(colon + 1);
}

bool is_over(const Verdict& verdict) { return verdict.action != Action::proceed || !verdict.failure.empty(); }

}  // namespace

Verdict MilterSession::ready(Context& context) {
  if (state_ != State::fresh && late_failure_.empty()) return {};
  if (Verdict verdict = ensure_open(context); !verdict.failure.empty()) return verdict;
  return greet(context);
}

Verdict MilterSession::message(Context& context, const mime::Message& message, filter::Journal& journal) {
  if (Verdict verdict = ready(context); is_over(verdict)) return verdict;
  if (state_ == State::dead) return standing(filter::Stage::eom, context);
  if (state_ != State::live || settled_) return {};
  timeout_ = settings_.content_timeout;
  Verdict verdict = checked(context, journal, content(context, message, journal));
  timeout_ = settings_.command_timeout;
  // A refusal, or a filter that failed on the way: nothing of it is to be applied.
  if (state_ == State::dead || verdict.refuses() || verdict.action == Action::discard) journal.clear();
  return verdict;
}

Verdict MilterSession::content(Context& context, const mime::Message& message, filter::Journal& journal) {
  if (!streamed_) {
    if (Verdict verdict = headers(context, message.headers); is_over(verdict)) return verdict;
    if (Verdict verdict = end_of_headers(context); is_over(verdict)) return verdict;
    if (!has(bits::kNoBody)) {
      if (Verdict verdict = body(context, message.body); is_over(verdict)) return verdict;
    }
  } else if (!stream_piece_.empty()) {
    if (Verdict verdict = body_piece(context, std::exchange(stream_piece_, {})); is_over(verdict)) return verdict;
  }
  begin(kEndOfMessageRule, context);
  encode(event::kEndOfMessage, {}, connection_->output());
  replaced_ = 0;
  canonicalizer_ = {};
  Verdict verdict = finish(kEndOfMessageRule, context, &journal);
  content_done_ = true;
  if (is_over(verdict) && verdict.action != Action::accept && verdict.action != Action::quarantine) return verdict;
  std::string rest;
  canonicalizer_.finish(rest);
  if (!rest.empty()) {
    if (auto kept = journal.append_body(rest); !kept) {
      return broken(&kEndOfMessageRule, label() + ": keep replacement body: " + kept.error().context);
    }
  }
  return verdict;
}

Verdict MilterSession::headers(Context& context, const std::vector<mime::Header>& headers) {
  if (has(bits::kNoHeaders)) return {};
  // The same macros go before each header: they are looked up once.
  const auto stage = static_cast<std::size_t>(MacroStage::end_of_headers);
  const auto& names = own_lists_[stage].empty() ? settings_.macros.lists[stage] : own_lists_[stage];
  std::string macros;
  if (!encode_macros(settings_.macros, names, event::kHeader, context, MacroStage::end_of_headers, macros)) {
    macros.clear();
  }
  const bool keep_space = has(bits::kLeadingSpace);
  for (const mime::Header& header : headers) {
    if (header.own_received) continue;   // ours, made for this message: no filter of Postfix sees it
    if (skipped_ == event::kHeader) return {};
    skipped_ = 0;
    connection_->output() += macros;
    PacketWriter(connection_->output(), event::kHeader).text(header.name()).text(header.milter_value(keep_space));
    if (Verdict verdict = finish(kHeaderRule, context); is_over(verdict)) return verdict;
  }
  return {};
}

Verdict MilterSession::end_of_headers(Context& context) {
  if (has(bits::kNoEndOfHeaders) || !begin(kEndOfHeadersRule, context)) return {};
  encode(event::kEndOfHeaders, {}, connection_->output());
  return finish(kEndOfHeadersRule, context);
}

// The same for all pieces.
const std::string& MilterSession::body_macros(Context& context) {
  if (!body_macros_) {
    const auto stage = static_cast<std::size_t>(MacroStage::end_of_message);
    const auto& names = own_lists_[stage].empty() ? settings_.macros.lists[stage] : own_lists_[stage];
    std::string macros;
    const bool any = encode_macros(settings_.macros, names, event::kBody, context, MacroStage::end_of_message, macros);
    body_macros_ = any ? std::move(macros) : std::string();
  }
  return *body_macros_;
}

Verdict MilterSession::body_piece(Context& context, std::string_view piece) {
  if (skipped_ == event::kBody) return {};
  skipped_ = 0;
  connection_->output() += body_macros(context);
  encode(event::kBody, piece, connection_->output());
  return finish(kBodyRule, context);
}

Verdict MilterSession::body(Context& context, const mime::Body& body) {
  const std::string& macros = body_macros(context);
  for (std::uint64_t at = 0; at < body.size();) {
    if (skipped_ == event::kBody) return {};
    skipped_ = 0;
    std::string& out = connection_->output();
    out += macros;
    const std::size_t piece = static_cast<std::size_t>(std::min<std::uint64_t>(kBodyPiece, body.size() - at));
    const std::size_t head = out.size();
    out.resize(head + kHeadLength + piece);   // the bytes go straight into the output
    const auto n = body.read_at(at, std::span<char>(out.data() + head + kHeadLength, piece));
    if (!n || *n == 0) {
      return broken(&kBodyRule, label() + ": read message body: " + (n ? "short read" : n.error().context));
    }
    out.resize(head + kHeadLength + *n);
    write_head(event::kBody, *n, out.data() + head);
    at += *n;
    if (Verdict verdict = finish(kBodyRule, context); is_over(verdict)) return verdict;
  }
  return {};
}

// --- content while it arrives -------------------------------------------------------------------

Verdict MilterSession::stream_headers(Context& context, const std::vector<mime::Header>& list) {
  if (Verdict verdict = ready(context); is_over(verdict)) return verdict;
  if (state_ != State::live || settled_) return {};   // message() will say what it means
  streamed_ = true;
  timeout_ = settings_.content_timeout;
  Verdict verdict = headers(context, list);
  if (!is_over(verdict)) verdict = end_of_headers(context);
  timeout_ = settings_.command_timeout;
  return verdict;
}

Verdict MilterSession::stream_body(Context& context, std::string_view bytes) {
  if (!streamed_ || state_ != State::live || settled_ || has(bits::kNoBody)) return {};
  timeout_ = settings_.content_timeout;
  Verdict verdict;
  while (!bytes.empty() && !is_over(verdict)) {
    const std::size_t take = std::min(bytes.size(), kBodyPiece - stream_piece_.size());
    stream_piece_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (stream_piece_.size() == kBodyPiece) verdict = body_piece(context, std::exchange(stream_piece_, {}));
  }
  timeout_ = settings_.command_timeout;
  return verdict;
}

bool MilterSession::take_edit(const Packet& packet, Context& context, filter::Journal& journal, Verdict& problem) {
  const auto unusable = [&] {
    journal.clear();
    problem = broken(&kEndOfMessageRule, label() + ": malformed " + std::string(answer_name(packet.command)) + " request");
    return true;
  };
  Edit edit{};
  switch (packet.command) {
    case answer::kAddHeader:
    case answer::kInsertHeader:
    case answer::kChangeHeader: {
      const auto parsed = parse_header_edit(packet.data, packet.command != answer::kAddHeader);
      if (!parsed) return unusable();
      if (parsed->name.empty()) {
        if (packet.command != answer::kChangeHeader) return unusable();
        journal.clear();
        problem = misconfigured(context, kEndOfMessageRule, "null change header name");
        return true;
      }
      edit.index = parsed->index;
      edit.name = parsed->name;
      edit.value = parsed->value;
      edit.keep_space = has(bits::kLeadingSpace);
      edit.kind = packet.command == answer::kAddHeader      ? Edit::Kind::add_header
                  : packet.command == answer::kInsertHeader ? Edit::Kind::insert_header
                  : edit.value.empty()                      ? Edit::Kind::delete_header
                                                            : Edit::Kind::change_header;
      if (packet.command == answer::kChangeHeader && edit.index == 0) edit.index = 1;
      break;
    }
    case answer::kAddRcpt:
    case answer::kAddRcptParameters:
    case answer::kDeleteRcpt:
    case answer::kChangeFrom: {
      const bool is_rcpt = packet.command != answer::kChangeFrom;
      const auto parsed = parse_address_edit(packet.data, !is_rcpt || packet.command == answer::kAddRcptParameters);
      if (!parsed) return unusable();
      edit.name = first_address(parsed->address);
      if (is_rcpt && edit.name.empty()) return true;   // <>: as Postfix, nobody
      edit.value = parsed->parameters;
      edit.kind = packet.command == answer::kDeleteRcpt   ? Edit::Kind::delete_recipient
                  : packet.command == answer::kChangeFrom ? Edit::Kind::change_sender
                                                          : Edit::Kind::add_recipient;
      break;
    }
    case answer::kReplaceBody: problem = replace_body(packet, context, journal); return true;
    default: return false;
  }
  if (settings_.header_checks && !check_header(edit, context)) return true;
  journal.add(std::move(edit));
  return true;
}

Verdict MilterSession::replace_body(const Packet& packet, Context&, filter::Journal& journal) {
  replaced_ += packet.data.size();
  if (settings_.body_limit > 0 && replaced_ > static_cast<std::uint64_t>(settings_.body_limit)) {
    journal.clear();
    return broken(&kEndOfMessageRule, label() + ": replacement body exceeds message_size_limit");
  }
  std::string canonical;
  canonicalizer_.add(packet.data, canonical);
  if (auto kept = journal.append_body(canonical); !kept) {
    journal.clear();
    return broken(&kEndOfMessageRule, label() + ": keep replacement body: " + kept.error().context);
  }
  return {};
}

}  // namespace millrace::milter
