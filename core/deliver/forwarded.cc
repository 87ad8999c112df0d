#include "core/deliver/forwarded.h"

#include "core/base/strings.h"

namespace millrace::deliver {

ForwardedClient forwarded_client(const mime::Envelope& envelope) {
  const mime::Envelope& is = envelope;
  const bool told = !(is.log_client_name.empty() && is.log_client_address.empty() && is.log_client_port.empty() &&
                      is.log_protocol.empty() && is.log_helo_name.empty());
  ForwardedClient out = told ? ForwardedClient{is.log_client_name, is.log_client_address, is.log_client_port,
                                               is.log_protocol, is.log_helo_name}
                             : ForwardedClient{is.client_name, is.client_address, is.client_port, is.protocol, is.helo_name};
  for (std::string* field : {&out.name, &out.address, &out.port, &out.protocol, &out.helo}) {
    if (iequals(*field, "unknown")) field->clear();
  }
  if (out.address.find(':') != std::string::npos && !istarts_with(out.address, "ipv6:")) out.address.insert(0, "IPv6:");
  return out;
}

}  // namespace millrace::deliver
