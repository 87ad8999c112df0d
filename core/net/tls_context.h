// Inside of core/net: what is behind TlsContext.
#pragma once

#include <openssl/ssl.h>

#include "core/net/tls.h"

namespace millrace::net {

class OpensslContext final : public TlsContext {
 public:
  explicit OpensslContext(TlsOptions with) : options(std::move(with)) {}
  ~OpensslContext() override { SSL_CTX_free(ctx); }

  const TlsOptions options;
  SSL_CTX* ctx = nullptr;
};

// OpenSSL's reason for the failure of the last call on this thread; empties its queue.
std::string openssl_reason();

}  // namespace millrace::net
