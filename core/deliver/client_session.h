// One connection to an SMTP or LMTP server: greeting, EHLO, STARTTLS, then messages (RFC 5321, RFC 2033).
//
// Promise: every recipient of a transfer() gets an outcome unless the connection was found dead before
// the server answered anything of it; a recipient is `sent` only after the server's positive reply to
// the end of data.  Bytes of the server are bounded and made printable.  It does not choose hosts,
// retry or log.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/deliver/attempt.h"
#include "core/deliver/client_options.h"
#include "core/deliver/ehlo.h"
#include "core/deliver/host_finder.h"
#include "core/deliver/reply.h"
#include "core/deliver/tls_policy.h"
#include "core/net/stream.h"

namespace millrace::deliver {

// Why a connection cannot be used.
struct Trouble {
  std::string dsn, text, diagnostic;
  bool handshake = false;   // TLS: another try in plain text may be allowed
};

class ClientSession : public Carry {
 public:
  ClientSession(std::unique_ptr<net::Stream> stream, Host host, std::shared_ptr<const ClientOptions> options);

  // Called for each line of the dialogue: '<' said by the server, '>' by us; not for message text.
  using Trace = std::function<void(char who, std::string_view line)>;
  void set_trace(Trace trace) { trace_ = std::move(trace); }

  // Up to the (second) EHLO reply.  `nexthop` is for the text of a mail loop. [fiber]
  std::optional<Trouble> open(const TlsPolicy& policy, const std::string& nexthop);

  enum class End { answered, stale };   // stale: dead before the first reply; nothing was changed
  // Sends the message to the recipients at `positions` and sets their outcomes. [fiber]
  End transfer(Attempt& attempt, const std::vector<std::size_t>& positions);

  void quit();                    // says goodbye and closes [fiber]
  bool usable() const { return alive_; }
  // May another message be sent: nothing came in meanwhile, limits not reached.
  bool reusable();
  const Host& host() const { return host_; }
  // What went wrong on the way without harm to the mail, for the log.
  std::vector<std::string> take_warnings() { return std::exchange(warnings_, {}); }
  unsigned uses() const { return uses_; }
  const Features& features() const { return features_; }
  const std::optional<net::TlsInfo>& tls() const { return tls_; }

 private:
  struct Dialog;   // of one transfer
  void trace(char who, std::string_view lines) const;
  Result<Reply> read_reply(std::chrono::seconds timeout);
  Result<Reply> ask(const std::string& command, std::chrono::seconds timeout);
  std::optional<Trouble> hello();
  std::optional<Trouble> encrypt(const TlsPolicy& policy);
  Trouble refused(const Reply& reply) const;
  Trouble lost(const Error& error, const char* doing) const;
  std::string path(std::string_view address) const;
  std::string mail_command(const queue::Entry& entry, std::string_view sender) const;
  std::string rcpt_command(const mime::Recipient& recipient, std::string_view address) const;
  std::vector<std::string> xforward_commands(const mime::Envelope& envelope) const;
  // Why the text could not be sent; `ours`: for a reason on our side, nothing is known against the server.
  struct ContentTrouble {
    bool ours;
    Error error;
  };
  std::optional<ContentTrouble> send_content(Attempt& attempt);
  // smtp_generic_maps on an envelope address.
  Result<std::string> outside(const std::string& address) const;

  std::unique_ptr<net::Stream> stream_;
  Host host_;
  std::shared_ptr<const ClientOptions> options_;
  Trace trace_;
  ReplyParser parser_;
  std::string input_;
  std::string greeting_;
  Features features_;
  std::optional<net::TlsInfo> tls_;
  TimePoint since_ = SteadyClock::now();
  unsigned uses_ = 0;
  std::vector<std::string> warnings_;
  bool alive_ = true;
  bool needs_rset_ = false;   // a transaction was begun and not ended
};

// Must the next hop know SMTPUTF8 for this message (RFC 6531 section 3.1)? The client asked for it and
// an address or the header section is not ASCII.
bool needs_smtputf8(const Attempt& attempt);

}  // namespace millrace::deliver
