// Inside of core/net: the socket form of Stream, plain and TLS.
#pragma once

#include <memory>

#include "core/net/descriptor.h"
#include "core/net/stream.h"
#include "core/net/tls_session.h"

namespace millrace::net {

class SocketStream final : public Stream {
 public:
  explicit SocketStream(int fd) : descriptor_(fd) {}
  ~SocketStream() override { close(); }

  Result<std::size_t> read_some(char* data, std::size_t size, Deadline deadline) override;
  Result<void> write(std::string_view bytes, Deadline deadline) override;
  bool readable() override;
  Result<TlsInfo> start_tls(TlsContext& context, const std::string& server_name,
                            Deadline deadline) override;
  void close() override;

 private:
  Descriptor descriptor_;
  std::unique_ptr<TlsSession> tls_;
  bool drained_ = false;  // the last read took all there was: the next begins with a wait
};

// strerror text with the kind that callers decide on.
tl::unexpected<Error> system_failure(int error);

}  // namespace millrace::net
