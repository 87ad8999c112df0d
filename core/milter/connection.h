// One connection to a milter: packets in and out over a Stream, output gathered until it has to go.
//
// Bounded: one packet of input (wire.h, kMaxPacket), 64 KiB of output.  Knows nothing of what packets mean.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/milter/wire.h"
#include "core/net/stream.h"

namespace millrace::milter {

class Connection {
 public:
  explicit Connection(std::unique_ptr<net::Stream> stream) : stream_(std::move(stream)) {}

  // Packets are appended here; they leave with the next flush().
  std::string& output() { return output_; }
  Result<void> flush(Deadline deadline);               // [fiber]
  Result<void> flush_if_large(Deadline deadline) {     // [fiber]
    return output_.size() < kOutputLimit ? Result<void>() : flush(deadline);
  }
  // The next packet; its data is valid until the next call.  Errors: as the Stream's, and protocol for a
  // packet that is too large or empty. [fiber]
  Result<Packet> read(Deadline deadline);
  void close() { stream_->close(); }
  // Nothing came in, and the other end is still there.
  bool quiet() { return used_ == input_.size() && !stream_->readable(); }

 private:
  static constexpr std::size_t kOutputLimit = 64 * 1024;
  std::unique_ptr<net::Stream> stream_;
  std::string input_, output_;
  std::size_t used_ = 0;   // octets of input_ that belong to the packet given out last
};

}  // namespace millrace::milter
