#include "core/net/tls_session.h"

#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "core/net/host_files.h"
#include "core/net/scheduler.h"
#include "core/net/tls_context.h"
#include "core/net/tls_info.h"

namespace millrace::net {
namespace {

// OpenSSL's own socket BIO writes with write(2), and a peer that has gone would be a SIGPIPE.
BIO_METHOD* descriptor_bio() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "millrace descriptor");
    const auto fd = [](BIO* bio) { return static_cast<Descriptor*>(BIO_get_data(bio))->fd(); };
    static const auto get_fd = fd;
    BIO_meth_set_read(m, [](BIO* bio, char* data, int size) {
      const ssize_t n = ::recv(get_fd(bio), data, static_cast<std::size_t>(size), 0);
      BIO_clear_retry_flags(bio);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
      return static_cast<int>(n);
    });
    BIO_meth_set_write(m, [](BIO* bio, const char* data, int size) {
      const ssize_t n = ::send(get_fd(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
      BIO_clear_retry_flags(bio);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
      return static_cast<int>(n);
    });
    BIO_meth_set_ctrl(
        m, [](BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1L : 0L; });
    return m;
  }();
  return method;
}

}  // namespace

TlsSession::~TlsSession() { SSL_free(ssl_); }

Result<TlsInfo> TlsSession::handshake(TlsContext& context, const std::string& server_name,
                                      Deadline deadline) {
  auto* const known = dynamic_cast<OpensslContext*>(&context);
  if (known == nullptr) return fail(Errc::protocol, "TLS context of another kind");
  const TlsOptions& options = known->options;
  ssl_ = SSL_new(known->ctx);
  BIO* const bio = ssl_ == nullptr ? nullptr : BIO_new(descriptor_bio());
  if (bio == nullptr) return fail(Errc::protocol, "TLS: out of memory");
  BIO_set_data(bio, &descriptor_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  if (options.server) {
    SSL_set_accept_state(ssl_);
  } else {
    SSL_set_connect_state(ssl_);
    if (!server_name.empty() && canonical_address(server_name).empty()) {
      SSL_set_tlsext_host_name(ssl_, server_name.c_str());
    }
  }
  // Its arithmetic takes a millisecond and its calls go deep: the pool does it, and the session's
  // stack stays small.
  TlsInfo info;
  for (;;) {
    int status = 0, error = 0;
    std::string reason;
    descriptor_.about_to_read();  // what comes while the pool works must not be missed
    offload([&] {
      ERR_clear_error();
      status = SSL_do_handshake(ssl_);
      const int system_error = errno;
      error = SSL_get_error(ssl_, status);
      if (status == 1) {
        info = describe_tls(ssl_, options.server ? "" : server_name);
      } else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        const bool system_call = error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0;
        reason = system_call ? std::strerror(system_error) : openssl_reason();
      }
    });
    if (status == 1) break;
    if (auto waited = wait_for(error, reason, deadline); !waited) {
      broken_ = true;
      return tl::unexpected(waited.error());
    }
  }
  if (options.verify_peer && !(info.peer_trusted && info.peer_matched)) {
    return fail(Errc::protocol, !info.peer_trusted
                                    ? "certificate verification failed: not trusted"
                                    : "certificate verification failed: name mismatch");
  }
  return info;
}

Result<void> TlsSession::wait_for(int ssl_error, const std::string& reason, Deadline deadline) {
  if (ssl_error == SSL_ERROR_WANT_READ)
    return descriptor_.wait(Descriptor::Direction::read, deadline);
  if (ssl_error == SSL_ERROR_WANT_WRITE)
    return descriptor_.wait(Descriptor::Direction::write, deadline);
  if (ssl_error == SSL_ERROR_ZERO_RETURN) return fail(Errc::closed, "end of file");
  broken_ = true;
  if (ssl_error == SSL_ERROR_SYSCALL)
    return fail(Errc::closed, reason.empty() ? "lost connection" : reason);
  return fail(Errc::protocol, "TLS: " + reason);
}

Result<std::size_t> TlsSession::read_some(char* data, std::size_t size, Deadline deadline) {
  for (;;) {
    if (broken_) return fail(Errc::closed, "TLS connection has failed");
    ERR_clear_error();
    descriptor_.about_to_read();
    const int n = SSL_read(ssl_, data, static_cast<int>(std::min<std::size_t>(size, INT_MAX)));
    if (n > 0) return static_cast<std::size_t>(n);
    const int error = SSL_get_error(ssl_, n);
    if (auto waited = wait_for(error, openssl_reason(), deadline); !waited)
      return tl::unexpected(waited.error());
  }
}

Result<void> TlsSession::write(std::string_view bytes, Deadline deadline) {
  while (!bytes.empty()) {
    if (broken_) return fail(Errc::closed, "TLS connection has failed");
    ERR_clear_error();
    descriptor_.about_to_read();
    const int n = SSL_write(ssl_, bytes.data(),
                            static_cast<int>(std::min<std::size_t>(bytes.size(), INT_MAX)));
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    const int error = SSL_get_error(ssl_, n);
    if (auto waited = wait_for(error, openssl_reason(), deadline); !waited) return waited;
  }
  return {};
}

bool TlsSession::readable() {
  if (broken_ || ssl_ == nullptr) return true;
  char byte;
  ERR_clear_error();
  descriptor_.about_to_read();
  const int n = SSL_peek(ssl_, &byte, 1);
  const bool waits = n <= 0 && SSL_get_error(ssl_, n) == SSL_ERROR_WANT_READ;
  if (!waits && n <= 0) broken_ = SSL_get_error(ssl_, n) != SSL_ERROR_ZERO_RETURN;
  ERR_clear_error();
  return !waits;
}

void TlsSession::say_goodbye() {
  if (broken_ || ssl_ == nullptr || SSL_is_init_finished(ssl_) != 1) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

}  // namespace millrace::net
