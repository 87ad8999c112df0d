// The envelope: who sends to whom, and what is known of the client that brought the message.
// Plain values, shared by the SMTP server, the chain, the queue and delivery.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/clock.h"

namespace millrace::mime {

// RFC 3461 section 4.1, as a bit set; 0 means that NOTIFY was not given.
enum Notify : unsigned { kNotifyNever = 1, kNotifySuccess = 2, kNotifyFailure = 4, kNotifyDelay = 8 };

enum class Ret { unset, full, headers };            // RFC 3461 section 4.3
enum class BodyType { unset, seven_bit, eight_bit };  // RFC 6152 section 2

// What the sender is to be told of the delivery, whatever comes of it (trace(8)).  record: sendmail -v; a report
// of every recipient's first attempt.  verify: sendmail -bv; that report alone, nothing is delivered.  probe: an
// address verification probe of our own; as verify, but told to nobody by mail, and never stored.
enum class Trace { none, record, verify, probe };

struct Recipient {
  std::string address;   // internal (unquoted) form, after rewriting
  std::string original;  // as the client gave it, internal form; log field orig_to when it differs
  std::string orcpt;     // "rfc822;addr" in xtext as received; "" when the client gave none
  unsigned notify = 0;   // Notify bits
};

struct Envelope {
  std::string queue_id;
  std::string sender;  // internal (unquoted) form; "" is the null reverse-path
  std::string envid;   // xtext as received
  Ret ret = Ret::unset;
  BodyType body = BodyType::unset;
  bool smtputf8 = false;  // the client asked for it
  Trace trace = Trace::none;
  std::string verp;       // two delimiters: every recipient gets mail from a sender of its own (core/mime/verp.h); else ""
  std::vector<Recipient> recipients;
  std::vector<Recipient> expanded;   // aliases that gave way to what they stand for, and asked for NOTIFY=SUCCESS

  WallMicros arrival = 0;    // when the transaction began
  std::uint64_t size = 0;    // octets of the message as stored (CRLF counted as in SMTP SIZE)

  // The client; what XFORWARD passes on and bounces report.
  std::string client_name, client_address, client_port, reverse_client_name;
  std::string helo_name;
  std::string protocol;      // "ESMTP", "SMTP", "LMTP"
  std::string sasl_method, sasl_username, sasl_sender;
  std::string log_client_name, log_client_address, log_client_port, log_helo_name, log_protocol,
      log_ident;             // from XFORWARD, "" when not given
  std::string source;        // "LOCAL" or "REMOTE": whose header addresses are completed with our domains (XFORWARD SOURCE)

  // What restrictions, checks and filters asked for.
  bool hold = false;
  std::string hold_reason;
  std::string content_filter;  // "transport:nexthop"
  std::string redirect;        // replaces all recipients
};

}  // namespace millrace::mime
