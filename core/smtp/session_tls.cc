// STARTTLS (RFC 3207).
#include <fmt/format.h>

#include "core/smtp/session.h"

namespace millrace::smtp {
namespace {

// "TLSv1.3 with cipher X (256/256 bits)", and the handshake's algorithms behind `separator`.
std::string describe(const net::TlsInfo& tls, std::string_view separator) {
  std::string out = fmt::format("{} with cipher {} ({}/{} bits)", tls.protocol, tls.cipher, tls.bits, tls.algorithm_bits);
  if (!tls.key_exchange.empty()) out += fmt::format("{} key-exchange {}", separator, tls.key_exchange);
  if (!tls.signature.empty()) out += " server-signature " + tls.signature;
  if (!tls.digest.empty()) out += " server-digest " + tls.digest;
  return out;
}

}  // namespace

std::string Session::tls_lines() const {
  const net::TlsInfo& tls = *facts_.tls;
  std::string out = fmt::format("(using {})", describe(tls, "\n\t"));
  if (!tls.peer_subject.empty()) {
    out += fmt::format("\n\t(Client CN \"{}\", Issuer \"{}\" ({}))", tls.peer_subject, tls.peer_issuer,
                       tls.peer_trusted ? "verified OK" : "not verified");
  } else if (params_.smtpd_tls_ask_ccert || params_.smtpd_tls_req_ccert) {
    out += "\n\t(Client did not present a certificate)";
  } else {
    out += "\n\t(No client certificate requested)";
  }
  return out;
}

Reply Session::starttls(const Input& input) {
  if (input.words.size() != 1) return Reply(501, "5.5.4", "Syntax: STARTTLS");
  if (const std::optional<Reply> standing = standing_refusal()) {
    return standing->code < 500 ? Reply(454, "4.3.0", "Try again later") : *standing;   // RFC 3207 knows no other
  }
  if (facts_.tls) return Reply(554, "5.5.1", "Error: TLS already active");
  if (!service_.tls || (hidden_keywords_ & kStarttls)) return Reply(502, "5.5.1", "Error: command not implemented");
  if (service_.anvil && params_.smtpd_client_new_tls_session_rate_limit > 0 && is_limited_client()) {
    Anvil anvil = *service_.anvil;
    const std::uint32_t rate = anvil.new_tls(service_.name, shown_address());
    if (rate > params_.smtpd_client_new_tls_session_rate_limit) {
      log_.warning(fmt::format("New TLS session rate limit exceeded: {} from {} for service {}", rate, namaddr_, service_.name));
      return Reply(454, "4.7.0", "Error: too many new TLS sessions from " + namaddr_);
    }
  }
  return Reply(220, "2.0.0", "Ready to start TLS", Reply::Then::tls);
}

bool Session::handshake() {
  if (!service_.tls) {
    reason_ = "lost connection";
    return false;
  }
  // What was sent in plaintext behind STARTTLS must not be taken as sent under TLS (CVE-2011-0411).
  stream_.discard_input();
  Result<net::TlsInfo> tls = stream_.stream().start_tls(*service_.tls, "", Deadline::after(params_.smtpd_starttls_timeout));
  if (!tls) {
    log_.info(fmt::format("SSL_accept error from {}: {}", namaddr_, tls.error().context));
    reason_ = tls.error().code == Errc::timeout ? "timeout" : "lost connection";
    where_ = params_.smtpd_tls_wrappermode ? "CONNECT" : "STARTTLS";
    return false;
  }
  facts_.tls = std::move(*tls);
  const std::string& level = params_.smtpd_tls_loglevel;
  if (level != "0" && level != "none") {
    const char* kind = facts_.tls->peer_subject.empty() ? "Anonymous" : facts_.tls->peer_trusted ? "Trusted" : "Untrusted";
    log_.info(fmt::format("{} TLS connection established from {}: {}", kind, namaddr_, describe(*facts_.tls, "")));
  }
  // RFC 3207 section 4.2: nothing learned before counts.
  end_transaction();
  forwarded_.reset();
  facts_.helo_name.clear();
  hidden_keywords_ = 0;
  chunks_failed_ = false;
  return true;
}

}  // namespace millrace::smtp
