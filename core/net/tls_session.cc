#include "core/net/tls_session.h"
namespace millrace::net {
TlsSession::~TlsSession() = default;
Result<TlsInfo> TlsSession::handshake(TlsContext&, const std::string&, Deadline) { return fail(Errc::protocol, "no TLS"); }
Result<std::size_t> TlsSession::read_some(char*, std::size_t, Deadline) { return fail(Errc::protocol, "no TLS"); }
Result<void> TlsSession::write(std::string_view, Deadline) { return fail(Errc::protocol, "no TLS"); }
bool TlsSession::readable() { return ssl_ != nullptr && broken_; }
void TlsSession::say_goodbye() { (void)descriptor_; }
}
