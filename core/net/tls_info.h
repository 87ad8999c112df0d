// Inside of core/net: what a finished handshake agreed on, in the words of Postfix's Received
// header.
#pragma once

#include <openssl/ssl.h>

#include "core/net/stream.h"

namespace millrace::net {

// `server_name`: whom the client side wanted; "" for the server side.
TlsInfo describe_tls(SSL* ssl, const std::string& server_name);

}  // namespace millrace::net
