// What a delivery may tell of the client that brought the message: XFORWARD, and the macros of pipe(8).
#pragma once

#include <string>

#include "core/mime/envelope.h"

namespace millrace::deliver {

// "" for what is not known.
struct ForwardedClient {
  std::string name, address, port, protocol, helo;
};
// What XFORWARD gave when the message came with one, else the client itself.
ForwardedClient forwarded_client(const mime::Envelope& envelope);

}  // namespace millrace::deliver
