// A Stream without a socket: what the peer sends is given, what we send is kept.
#pragma once

#include <deque>
#include <string>

#include "core/net/stream.h"

namespace millrace::test {

class ScriptedStream : public net::Stream {
 public:
  // Each piece arrives by itself.  After the last one the stream ends.
  explicit ScriptedStream(std::deque<std::string> pieces, std::string* sent = nullptr)
      : pieces_(std::move(pieces)), sent_(sent) {}

  Result<std::size_t> read_some(char* data, std::size_t size, Deadline) override {
    ++reads;
    if (sent_ != nullptr && marks) *sent_ += "<read>";
    if (pieces_.empty()) return fail(Errc::closed, "end of script");
    std::string& piece = pieces_.front();
    const std::size_t n = piece.copy(data, size);
    piece.erase(0, n);
    if (piece.empty()) pieces_.pop_front();
    return n;
  }
  Result<void> write(std::string_view bytes, Deadline) override {
    if (writes_left == 0) return fail(Errc::closed, "script: no more writes");
    if (writes_left > 0) --writes_left;
    if (sent_ != nullptr) *sent_ += bytes;
    return {};
  }
  bool readable() override { return !pieces_.empty(); }
  Result<net::TlsInfo> start_tls(net::TlsContext&, const std::string&, Deadline) override {
    if (!tls_works) return fail(Errc::protocol, "script: handshake failed");
    net::TlsInfo info;
    info.protocol = "TLSv1.3";
    info.cipher = "TLS_AES_256_GCM_SHA384";
    info.bits = info.algorithm_bits = 256;
    return info;
  }
  void close() override { closed = true; }

  int writes_left = -1;  // -1: no limit
  int reads = 0;
  bool marks = false;  // note each read in what was sent
  bool tls_works = true, closed = false;

 private:
  std::deque<std::string> pieces_;
  std::string* sent_;
};

}  // namespace millrace::test
