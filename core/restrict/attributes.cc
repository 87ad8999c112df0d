// What policy services and scripts are told: SMTPD_POLICY_README, in Postfix 3.7's order.
#include <fmt/format.h>
#include <unistd.h>

#include "core/restrict/run.h"

namespace millrace::restrict {

using filter::Stage;

policy::Attributes Run::attributes(std::string_view policy_context) {
  const filter::SessionFacts& session = context_.session;
  const mime::Envelope& envelope = context_.envelope;
  const bool counted = stage_ == Stage::data || stage_ == Stage::eom;
  const bool in_message = stage_ == Stage::rcpt || counted;
  if (in_message && state_.instance.empty()) {
    const WallMicros now = wall_now();
    state_.instance = fmt::format("{:x}.{:x}.{:x}.{:x}", ::getpid(), now / 1'000'000, now % 1'000'000,
                                  (session.session_number << 8) + state_.transactions);
  }
  std::int64_t size = static_cast<std::int64_t>(envelope.size);
  if (message_ != nullptr) {   // as received: our own Received field is not counted
    size = static_cast<std::int64_t>(message_->size());
    for (const mime::Header& header : message_->headers) {
      if (header.own_received) size -= static_cast<std::int64_t>(header.text().size()) + 2;
    }
  }
  const net::TlsInfo* tls = session.tls ? &*session.tls : nullptr;
  const bool trusted = tls != nullptr && tls->peer_trusted;
  policy::Attributes out;
  out.reserve(32);
  const auto put = [&](const char* name, std::string value) { out.emplace_back(name, std::move(value)); };
  const auto number = [&](const char* name, std::int64_t value) { out.emplace_back(name, value); };
  put("request", "smtpd_access_policy");
  put("protocol_state", where());
  put("protocol_name", protocol_);
  put("client_address", client_address());
  put("client_name", client_name());
  put("client_port", session.client_port);
  put("reverse_client_name", session.reverse_client_name);
  put("server_address", session.server_address);
  put("server_port", session.server_port);
  put("helo_name", helo_);
  put("sender", sender_.value_or(""));
  put("recipient", recipient_.value_or(""));
  number("recipient_count", counted ? static_cast<std::int64_t>(envelope.recipients.size()) : 0);
  put("queue_id", in_message ? envelope.queue_id : "");
  put("instance", in_message ? state_.instance : "");
  number("size", sender_ ? size : 0);
  put("etrn_domain", stage_ == Stage::etrn ? std::string(context_.typed) : "");
  put("stress", session.stress);
  put("sasl_method", session.sasl_method);
  put("sasl_username", session.sasl_username);
  put("sasl_sender", session.sasl_sender);
  put("ccert_subject", trusted ? tls->peer_subject : "");
  put("ccert_issuer", trusted ? tls->peer_issuer : "");
  put("ccert_fingerprint", tls != nullptr ? tls->peer_fingerprint : "");
  put("ccert_pubkey_fingerprint", "");
  put("encryption_protocol", tls != nullptr ? tls->protocol : "");
  put("encryption_cipher", tls != nullptr ? tls->cipher : "");
  number("encryption_keysize", tls != nullptr ? tls->bits : 0);
  put("policy_context", std::string(policy_context));
  return out;
}

}  // namespace millrace::restrict
