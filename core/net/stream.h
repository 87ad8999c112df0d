// Byte streams that suspend the fiber: the interface protocols are written against, and its socket
// form.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"

namespace millrace::net {

struct TlsInfo {
  std::string protocol;  // "TLSv1.3"
  std::string cipher;    // "TLS_AES_256_GCM_SHA384"
  int bits = 0, algorithm_bits = 0;
  std::string key_exchange, signature,
      digest;                 // for the Received header: "X25519", "RSA-PSS (2048 bits)", "SHA256"
  bool peer_trusted = false;  // chain verified against our CAs
  bool peer_matched = false;  // and the name matched (client side)
  std::string peer_subject, peer_issuer, peer_fingerprint;
  std::string sni;
  bool resumed = false;
};

class TlsContext;  // core/net/tls.h

// All calls [fiber].  Errors: timeout, closed, canceled, io, protocol (TLS).
class Stream {
 public:
  virtual ~Stream() = default;
  // Reads 1..size bytes; closed at the end of the stream.  Nothing is stored at `data` before the last
  // suspension is over: callers may share a buffer among the fibers of a thread.
  virtual Result<std::size_t> read_some(char* data, std::size_t size, Deadline deadline) = 0;
  // Writes all bytes.
  virtual Result<void> write(std::string_view bytes, Deadline deadline) = 0;
  // Are bytes (or an end of file) there to be read at once?  Never suspends.
  virtual bool readable() = 0;
  // Upgrades in place; `server_name` is for the client side (SNI, verification).
  virtual Result<TlsInfo> start_tls(TlsContext& context, const std::string& server_name,
                                    Deadline deadline) = 0;
  virtual void close() = 0;  // idempotent; TLS close_notify is sent when that needs no wait
};

// An address and port, or a unix path.  Value.
struct Endpoint {
  std::string address;  // "192.0.2.1", "2001:db8::1"; path for unix sockets
  std::uint16_t port = 0;
  bool is_unix = false;
  std::string to_text() const;  // "192.0.2.1:25", "[2001:db8::1]:25", path
};

struct ConnectOptions {
  std::string bind_address;  // "" = any
};

// A connected socket, or the reading end of a pipe.  Takes ownership of `fd` (made non-blocking; TCP_NODELAY is set on TCP).
std::unique_ptr<Stream> make_stream(int fd);
// [fiber]; errors: refused, timeout, canceled, io, config (no address).  The context is the
// system's text alone ("Connection refused"): the caller knows what it was connecting to.
Result<std::unique_ptr<Stream>> connect(const Endpoint& to, const ConnectOptions& options,
                                        Deadline deadline);

// Accepts on a listening socket (not owned, shared by several processes) and calls `accepted` on
// the loop, outside of any fiber, with the new descriptor.  Accepting can be paused.
class Acceptor {
 public:
  using Handler = std::function<void(int fd)>;
  Acceptor(int listening_fd, Handler accepted);
  ~Acceptor();
  void pause();
  void resume();
  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

// Local and remote end of a connected socket; unix sockets give an empty address.
Endpoint local_endpoint(int fd);
Endpoint remote_endpoint(int fd);

// Listening sockets, made by the master.  Errors: io (address in use, no permission).
Result<int> listen_tcp(const Endpoint& at, int backlog);
Result<int> listen_unix(const std::string& path, unsigned mode, int backlog);

// One message of up to 64 KiB with optional descriptors over a connected unix socket; what the
// roles talk with.  Used with plain descriptors because they pass descriptors.
class MessageSocket {
 public:
  explicit MessageSocket(int fd);  // a SOCK_STREAM or SOCK_SEQPACKET unix socket; owned
  ~MessageSocket();
  MessageSocket(const MessageSocket&) = delete;
  Result<void> send(std::string_view bytes, std::span<const int> fds,
                    Deadline deadline);  // [fiber]
  // Appends what is there to `out`, received descriptors (now owned by the caller) to `fds`.
  Result<void> receive(std::string& out, std::vector<int>& fds, Deadline deadline);  // [fiber]
  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::net
