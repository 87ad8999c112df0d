// What ends with a message: everything from MAIL to the end of DATA or BDAT.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/filter/verdict.h"
#include "core/mime/builder.h"
#include "core/mime/envelope.h"
#include "core/smtp/data_decoder.h"
#include "core/smtp/proxy_filter.h"

namespace millrace::smtp {

// Why the content of a message is not taken although it is read to its end.
enum class ContentFault {
  none,
  too_large,       // message_size_limit, or the header section's bound
  bare_newline,    // smtpd_forbid_bare_newline = reject
  bad_character,   // message_reject_characters
  no_space,
  io,
};

// The content while it arrives; made at the first byte.
struct Content {
  Content(DataDecoder::Form form, DataDecoder::LineEnds ends, char stray, const mime::BuilderLimits& limits, mime::Body body)
      : decoder(form, ends, stray), builder(limits, std::move(body)) {}
  DataDecoder decoder;
  mime::MessageBuilder builder;
  std::uint64_t size = 0;          // canonical octets
  ContentFault fault = ContentFault::none;
  bool streams = false;            // a filter gets it while it arrives
  bool headers_streamed = false;
  std::uint64_t streamed = 0;      // octets of the body
};

struct Transaction {
  bool begun = false;              // MAIL was accepted
  mime::Envelope envelope;
  std::string first_recipient;     // internal form: Received, logs, footers
  std::size_t overshoot = 0;       // recipients over smtpd_recipient_limit
  bool discard = false;            // a filter said so: accept and drop
  std::vector<std::string> prepend;      // header fields that filters want at the top
  bool bdat = false;               // a BDAT was accepted
  std::unique_ptr<Content> content;
  std::vector<std::string> commands;    // MAIL and RCPT as the client gave them, for a proxy filter
  std::unique_ptr<ProxyFilter> proxy;   // open

  void prepend_to(mime::Message& message) const;
};

}  // namespace millrace::smtp
