// See received.h.
#include "core/mime/received.h"

#include <fmt/format.h>

namespace millrace::mime {

Header make_received(const ReceivedFacts& facts) {
  std::string value = fmt::format("from {} ({} [{}])", facts.helo, facts.client_name, facts.client_address);
  if (!facts.tls.empty()) value.append("\n\t").append(facts.tls);
  if (!facts.authenticated_sender.empty()) {
    value.append(fmt::format("\n\t(Authenticated sender: {})", facts.authenticated_sender));
  }
  value.append(fmt::format("\n\tby {} ({}) with {}", facts.host, facts.mail_name, facts.protocol));
  if (!facts.queue_id.empty()) value.append(" id ").append(facts.queue_id);   // none in front of a proxy filter
  if (facts.recipient.empty()) {
    value.append(";\n\t");
  } else {
    value.append(fmt::format("\n\tfor <{}>; ", facts.recipient));
  }
  value.append(rfc5322_date(facts.when));
  Header header = Header::make("Received", value);
  header.own_received = true;
  return header;
}

}  // namespace millrace::mime
