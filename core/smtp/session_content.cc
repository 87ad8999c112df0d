// DATA and BDAT: reading the content, and what becomes of the message.
//
// The content is always read to its end, whatever is wrong with it: the rest would become commands.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/strings.h"
#include "core/mime/received.h"
#include "core/smtp/session.h"

namespace millrace::smtp {
namespace {

constexpr std::uint64_t kMinDataRate = 500;   // octets per second, with smtpd_per_request_deadline

Reply write_error() { return Reply(451, "4.3.0", "Error: queue file write error"); }
Reply no_space() { return Reply(452, "4.3.1", "Insufficient system storage"); }

ContentFault fault_of(const Error& error) {
  if (error.code == Errc::too_large) return ContentFault::too_large;
  return error.code == Errc::no_space ? ContentFault::no_space : ContentFault::io;
}

}  // namespace

Reply Session::data(const Input& input) {
  if (transaction_ && transaction_->bdat) return Reply(503, "5.5.1", "Error: DATA after BDAT");
  if (!transaction_ || !transaction_->begun) return Reply(503, "5.5.1", "Error: need RCPT command");
  if (transaction_->envelope.recipients.empty()) return Reply(554, "5.5.1", "Error: no valid recipients");
  if (input.words.size() != 1) return Reply(501, "5.5.4", "Syntax: DATA");
  if (const std::optional<Reply> refused = begin_content(DataDecoder::Form::data, input)) return *refused;
  return Reply(354, "", "End data with <CR><LF>.<CR><LF>", Reply::Then::data);
}

std::optional<Reply> Session::begin_content(DataDecoder::Form form, const Input& input) {
  Transaction& current = *transaction_;
  if (!current.discard) {
    const filter::Verdict verdict = ask(filter::Stage::data, &input, {}, 1);
    note_outcome(verdict);
    if (verdict.refuses()) return refusal(verdict);
  }
  if (current.proxy) {
    if (std::optional<Reply> refused = proxy_say("DATA", 3)) return refused;
  }
  const auto ends = bare_newline_ == BareNewline::no ? DataDecoder::LineEnds::lenient : DataDecoder::LineEnds::strict;
  current.content = std::make_unique<Content>(form, ends, params_.cleanup_replace_stray_cr_lf ? ' ' : '\r',
                                              service_.builder_limits, mime::Body(service_.sink->spool_directory()));
  current.content->streams = !current.discard && chain_->streams();
  return {};
}

// Takes decoded content.  `canonical` is emptied.
void Session::take(std::string& canonical) {
  Content& content = *transaction_->content;
  content.size += canonical.size();
  if (content.fault == ContentFault::none) {
    const auto limit = static_cast<std::uint64_t>(params_.message_size_limit);
    if (limit > 0 && content.size > limit) {
      content.fault = ContentFault::too_large;
      log_.warning(transaction_->envelope.queue_id + ": queue file size limit exceeded");
    } else if (bare_newline_ == BareNewline::reject && content.decoder.saw_bare_newline()) {
      content.fault = ContentFault::bare_newline;
    } else if (service_.reject_characters.in(canonical)) {
      content.fault = ContentFault::bad_character;
    } else {
      service_.strip_characters.strip(canonical);
      if (const Result<void> added = content.builder.add(canonical); !added) {
        content.fault = fault_of(added.error());
        log_.warning(fmt::format("{}: {}", transaction_->envelope.queue_id, added.error().context));
      }
    }
    if (content.fault == ContentFault::none && content.streams) stream_content();
    // What is lost already needs no space.
    if (content.fault != ContentFault::none) (void)content.builder.take();
  }
  canonical.clear();
}

void Session::stream_content() {
  Content& content = *transaction_->content;
  if (!content.builder.in_body()) return;
  filter::Context context{.session = facts_, .envelope = transaction_->envelope};
  context.deadline = Deadline::after(std::chrono::hours(1));
  context.log = &log_;
  const mime::Message& message = content.builder.message();
  if (!std::exchange(content.headers_streamed, true)) chain_->stream_headers(context, message.headers);
  constexpr std::size_t kPiece = 64 * 1024;
  std::string piece;
  while (content.streamed < message.body.size()) {
    piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, message.body.size() - content.streamed)));
    const auto got = message.body.read_at(content.streamed, piece);
    if (!got || *got == 0) {
      content.fault = ContentFault::io;
      return;
    }
    content.streamed += *got;
    chain_->stream_body(context, std::string_view(piece).substr(0, *got));
  }
}

Reply Session::receive_data() {
  where_ = "DATA content";
  std::string canonical;
  Deadline deadline = read_deadline();
  for (;;) {
    const Result<std::string_view> bytes = stream_.read_some(deadline);
    if (!bytes) {
      content_size_ = transaction_->content->size;
      return read_failed(bytes.error());
    }
    const DataDecoder::Decoded decoded = transaction_->content->decoder.decode(*bytes, canonical);
    stream_.consume(decoded.consumed);
    take(canonical);
    if (decoded.end) break;
    if (params_.smtpd_per_request_deadline) {
      deadline.at += std::chrono::milliseconds(decoded.consumed * 1000 / kMinDataRate);
    } else {
      deadline = read_deadline();
    }
  }
  std::string().swap(canonical);
  return end_of_message();
}

Reply Session::bdat(const Input& input) {
  if (hidden_keywords_ & kChunking) return Reply(521, "5.5.1", "Error: command not implemented");
  const std::optional<Chunk> chunk = parse_chunk(input.words);
  // What follows cannot be told from commands: hang up.
  if (!chunk) return Reply(521, "5.5.4", "Syntax: BDAT count [LAST]");
  chunk_ = *chunk;
  if (chunk_.size == 0 && !chunk_.last) {
    const bool named = transaction_ && !transaction_->envelope.queue_id.empty();
    log_.warning(fmt::format("{}: null BDAT request from {}", named ? transaction_->envelope.queue_id : "NOQUEUE", namaddr_));
    return skip_chunk(Reply(551, "5.7.1", "Null BDAT request"));
  }
  if (chunks_failed_) {
    return skip_chunk(Reply(551, "5.0.0", fmt::format("Discarded {} bytes after earlier error", chunk_.size)));
  }
  if (!transaction_ || !transaction_->bdat) {
    if (!transaction_ || !transaction_->begun) return skip_chunk(Reply(503, "5.5.1", "Error: need RCPT command"));
    if (transaction_->envelope.recipients.empty()) {
      return skip_chunk(Reply(554, "5.5.1", "Error: no valid recipients"));
    }
    if (const std::optional<Reply> refused = begin_content(DataDecoder::Form::chunks, input)) {
      return refused->closes() ? *refused : skip_chunk(*refused);
    }
    transaction_->bdat = true;
  }
  chunk_reply_.reset();
  return Reply(0, "", "", Reply::Then::chunk);
}

Reply Session::skip_chunk(Reply reply) {
  chunks_failed_ = true;
  chunk_reply_ = std::move(reply);
  return Reply(0, "", "", Reply::Then::chunk);
}

Reply Session::receive_chunk() {
  const bool skip = chunk_reply_.has_value();
  if (!skip) where_ = "BDAT content";
  std::string canonical;
  for (std::uint64_t left = chunk_.size; left > 0;) {
    const Result<std::string_view> bytes = stream_.read_some(read_deadline());
    if (!bytes) {
      if (!skip) content_size_ = transaction_->content->size;
      return read_failed(bytes.error());
    }
    const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes->size(), left));
    if (!skip) {
      transaction_->content->decoder.decode(bytes->substr(0, taken), canonical);
      take(canonical);
    }
    stream_.consume(taken);
    left -= taken;
  }
  if (skip) {
    if (chunk_.last) {   // nothing more belongs to that message
      end_transaction();
      chunks_failed_ = false;
    }
    return std::exchange(chunk_reply_, {}).value();
  }
  if (chunk_.last) {
    transaction_->content->decoder.finish(canonical);
    take(canonical);
    return end_of_message();
  }
  if (std::optional<Reply> fault = content_fault()) {
    end_transaction();
    chunks_failed_ = true;
    return *fault;
  }
  return Reply(250, "2.0.0", fmt::format("Ok: {} bytes", chunk_.size));
}

std::optional<Reply> Session::content_fault() const {
  switch (transaction_->content->fault) {
    case ContentFault::none: return {};
    case ContentFault::too_large: return Reply(552, "5.3.4", "Error: message file too big");
    case ContentFault::bare_newline:
      log_event(log_, "reject", "bare <LF> received");
      return Reply(static_cast<int>(params_.smtpd_forbid_bare_newline_reject_code), "5.5.2",
                   params_.myhostname + " Error: bare <LF> received");
    case ContentFault::bad_character: return Reply(550, "5.7.1", "disallowed character");
    case ContentFault::no_space: return no_space();
    case ContentFault::io: return write_error();
  }
  return write_error();
}

Reply Session::end_of_message() {
  where_ = "END-OF-MESSAGE";
  if (bare_newline_ == BareNewline::note && transaction_->content->decoder.saw_bare_newline()) noted_bare_newline_ = true;
  Reply reply = finish_message();
  if (!reply.negative() && reply.code != 0) {
    errors_ = junk_ = 0;
    transcript_.forgive();
  }
  transcript_.checkpoint();
  end_transaction();
  return reply;
}

mime::Header Session::received() const {
  const mime::Envelope& envelope = transaction_->envelope;
  mime::ReceivedFacts facts;
  facts.helo = facts_.helo_name.empty() ? facts_.client_name : facts_.helo_name;
  facts.client_name = facts_.client_name;
  facts.client_address = rfc_address();
  // RFC 3848 and RFC 6531 section 4.3.
  facts.protocol = envelope.smtputf8 ? "UTF8SMTP" : facts_.protocol;
  if (facts_.protocol == "ESMTP") {
    if (facts_.tls) facts.protocol += 'S';
    if (!facts_.sasl_username.empty()) facts.protocol += 'A';
  }
  if (params_.smtpd_tls_received_header && facts_.tls) facts.tls = tls_lines();
  facts.host = params_.myhostname;
  facts.mail_name = params_.mail_name;
  facts.queue_id = envelope.queue_id;
  if (envelope.recipients.size() == 1) facts.recipient = rewrite::quote_local(transaction_->first_recipient);
  facts.when = envelope.arrival;
  return mime::make_received(facts);
}

Reply Session::finish_message() {
  Transaction& current = *transaction_;
  if (current.content->fault == ContentFault::none) {
    if (const Result<void> finished = current.content->builder.finish(); !finished) {
      current.content->fault = fault_of(finished.error());
    } else if (current.content->headers_streamed) {
      stream_content();
    }
  }
  if (std::optional<Reply> fault = content_fault()) return *fault;
  mime::Message message = current.content->builder.take();
  // As cleanup(8): what the message says of itself counts more than MAIL FROM without BODY=.
  if (const mime::Header* encoding = message.find("Content-Transfer-Encoding"); encoding != nullptr && iequals(encoding->unfolded(), "8bit")) {
    current.envelope.body = mime::BodyType::eight_bit;
  }
  message.headers.insert(message.headers.begin(), received());
  if (service_.proxy) return proxy_message(message);
  const std::string& id = current.envelope.queue_id;
  if (mime::count_hops(message) >= static_cast<std::size_t>(params_.hopcount_limit)) {
    service_.cleanup_log.warning(id + ": message rejected: hopcount exceeded");
    return Reply(554, "5.4.0", "Error: too many hops");
  }
  mime::HeaderPolicy policy = service_.header_policy;
  using Context = rewrite::Cleanup::HeaderContext;
  const bool local = current.envelope.source == "LOCAL";
  policy.add_missing = policy.add_missing || local;
  const Context context = local                                          ? Context::local
                          : !service_.rewrites_remote_headers ? Context::none
                                                                         : Context::remote;
  const rewrite::Cleanup& rewriting = *service_.rewriting;
  if (const auto done = rewriting.headers(message, context, service_.address_mappings); !done) return rewriting_failed(done.error());
  std::string from = current.envelope.sender;
  if (policy.add_missing) {
    auto mapped = rewriting.sender(from, service_.address_mappings);
    if (!mapped) return rewriting_failed(mapped.error());
    from = std::move(*mapped);
  }
  std::vector<std::string> lines;
  mime::apply_header_policy(message, policy, id, rewrite::quote_local(from), current.envelope.arrival, lines);
  for (const std::string& line : lines) service_.cleanup_log.info(id + ": " + line);
  current.prepend_to(message);
  return deliver(message);
}

Reply Session::deliver(mime::Message& message) {
  Transaction& current = *transaction_;
  mime::Envelope& envelope = current.envelope;
  envelope.size = message.size();
  if (!current.discard && !service_.chain.filters().empty()) {
    filter::Context context{.session = facts_, .envelope = envelope};
    context.deadline = Deadline::after(std::chrono::hours(1));
    context.log = &log_;
    const filter::Verdict verdict = chain_->message(context, message, service_.sink->spool_directory());
    note_outcome(verdict);
    if (verdict.refuses()) return refusal(verdict);
    for (auto header = context.prepend.rbegin(); header != context.prepend.rend(); ++header) {
      const std::size_t length = mime::header_name_length(*header);
      if (length > 0) {
        message.headers.insert(message.headers.begin(),
                               mime::Header::make(header->substr(0, length),
                                                  trim(std::string_view(*header).substr(header->find(':') + 1))));
      }
    }
  }
  const std::uint64_t received_bytes = current.content->size;
  const Reply accepted(250, "2.0.0", current.bdat ? fmt::format("Ok: {} bytes queued as {}", received_bytes, envelope.queue_id)
                                                  : "Ok: queued as " + envelope.queue_id);
  if (current.discard) return accepted;
  if (const std::optional<Reply> refused = settle_recipients(envelope)) return *refused;
  if (envelope.recipients.empty()) return accepted;
  envelope.size = message.size();
  if (const Result<void> stored = service_.sink->submit(envelope, message); !stored) {
    log_.warning(fmt::format("{}: {}", envelope.queue_id, stored.error().context));
    switch (stored.error().code) {
      case Errc::no_space: return no_space();
      case Errc::too_large: return Reply(552, "5.3.4", "Error: message file too big");
      default: return write_error();
    }
  }
  return accepted;
}

// Cleanup's last steps on the envelope: a redirection, or rewriting, expansion and duplicates.
std::optional<Reply> Session::settle_recipients(mime::Envelope& envelope) const {
  bool map = service_.address_mappings;
  if (!envelope.redirect.empty() && !envelope.recipients.empty()) {
    // Postfix's queue manager sorts them and keeps the first one's ORCPT.
    mime::Recipient only = *std::min_element(envelope.recipients.begin(), envelope.recipients.end(),
                                             [](const auto& a, const auto& b) { return lower(a.original) < lower(b.original); });
    only.address = std::exchange(envelope.redirect, {});
    only.notify = 0;
    envelope.recipients.assign(1, std::move(only));
    envelope.content_filter.clear();   // header_checks(5): it overrides FILTER, and content_filter with it
    // It overrides aliases and copies, but the sender is mapped all the same.
    auto sender = service_.rewriting->sender(envelope.sender, map);
    if (!sender) return rewriting_failed(sender.error());
    envelope.sender = std::move(*sender);
    map = false;
  }
  if (const auto done = service_.rewriting->envelope(envelope, map); !done) return rewriting_failed(done.error());
  return {};
}

Reply Session::rewriting_failed(const Error& error) const {
  service_.cleanup_log.warning(fmt::format("{}: {} -- message not accepted, try again later",
                                           transaction_->envelope.queue_id, error.context));
  return error.code == Errc::too_large ? Reply(451, "4.6.0", "Alias expansion error") : write_error();
}

}  // namespace millrace::smtp
