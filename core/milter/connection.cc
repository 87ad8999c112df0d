// Milter packets over a stream: see connection.h.
#include "core/milter/connection.h"

#include <algorithm>

namespace millrace::milter {

Result<void> Connection::flush(Deadline deadline) {
  if (output_.empty()) return {};
  const Result<void> written = stream_->write(output_, deadline);
  output_.clear();
  if (output_.capacity() > 4096) output_.shrink_to_fit();   // an idle session keeps no buffer
  return written;
}

Result<Packet> Connection::read(Deadline deadline) {
  input_.erase(0, used_);
  used_ = 0;
  constexpr std::size_t kPiece = 16 * 1024;
  for (;;) {
    const Decoded decoded = decode(input_);
    switch (decoded.status) {
      case DecodeStatus::ok:
        used_ = decoded.consumed;
        return decoded.packet;
      case DecodeStatus::too_large: return fail(Errc::protocol, "packet length is over the limit");
      case DecodeStatus::empty: return fail(Errc::protocol, "packet length is 0");
      case DecodeStatus::need_more: break;
    }
    const std::size_t have = input_.size();
    const std::size_t wanted = have < 16 ? std::size_t{256} : kPiece;   // most answers have 5 octets
    input_.resize(have + wanted);
    const Result<std::size_t> n = stream_->read_some(input_.data() + have, wanted, deadline);
    input_.resize(have + (n ? *n : 0));
    if (!n) return tl::unexpected(n.error());
  }
}

}  // namespace millrace::milter
