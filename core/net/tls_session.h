// Inside of core/net: one TLS connection on a descriptor.
#pragma once

#include "core/net/descriptor.h"
#include "core/net/stream.h"

struct ssl_st;

namespace millrace::net {

class TlsSession {
 public:
  explicit TlsSession(Descriptor& descriptor) : descriptor_(descriptor) {}
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;

  Result<TlsInfo> handshake(TlsContext& context, const std::string& server_name, Deadline deadline);
  Result<std::size_t> read_some(char* data, std::size_t size, Deadline deadline);
  Result<void> write(std::string_view bytes, Deadline deadline);
  bool readable();
  void say_goodbye();  // close_notify, if the socket takes it at once

 private:
  // Waits for what OpenSSL asked for, or tells what its failure means.
  Result<void> wait_for(int ssl_error, const std::string& reason, Deadline deadline);

  Descriptor& descriptor_;
  ssl_st* ssl_ = nullptr;
  bool broken_ = false;  // after a fatal error OpenSSL must not be asked to shut down
};

}  // namespace millrace::net
