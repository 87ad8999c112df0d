#include "core/map/network.h"

#include <arpa/inet.h>

#include <cstring>

#include "core/base/strings.h"

namespace millrace::map {

std::optional<Address> parse_address(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN + 1];
  if (text.empty() || text.size() >= sizeof buffer || text.find('\0') != text.npos) return {};
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = 0;
  Address out;
  if (text.find(':') != text.npos) {
    out.bits = 128;
    if (inet_pton(AF_INET6, buffer, out.bytes.data()) != 1) return {};
  } else {
    out.bits = 32;
    if (inet_pton(AF_INET, buffer, out.bytes.data()) != 1) return {};
  }
  return out;
}

std::string to_text(const Address& address) {
  char buffer[INET6_ADDRSTRLEN + 1] = "";
  inet_ntop(address.bits == 32 ? AF_INET : AF_INET6, address.bytes.data(), buffer, sizeof buffer);
  return buffer;
}

namespace {
Address masked(Address address, int prefix) {
  for (int i = 0; i < 16; ++i) {
    const int keep = std::min(8, std::max(0, prefix - 8 * i));
    address.bytes[static_cast<std::size_t>(i)] &= static_cast<std::uint8_t>(0xff00 >> keep);
  }
  return address;
}
}  // namespace

bool Network::contains(const Address& address) const {
  return address.bits == base.bits && masked(address, prefix) == base;
}

Result<Network> parse_network(std::string_view text) {
  std::string spelled(text);
  if (!text.empty() && text[0] == '[') {
    // The mask may stand inside the brackets or behind them.
    const std::size_t close = text.find(']');
    if (close == text.npos)
      return fail(Errc::protocol, "missing ']' character after \"" + printable(text) + "\"");
    const std::string_view behind = text.substr(close + 1);
    if (!behind.empty() && behind[0] != '/')
      return fail(Errc::protocol, "garbage after \"" + printable(text.substr(0, close + 1)) + "\"");
    spelled = std::string(text.substr(1, close - 1)).append(behind);
  }
  const auto quoted = [&] { return "\"" + printable(spelled) + "\""; };
  const std::size_t slash = spelled.rfind('/');
  const bool has_mask = slash != spelled.npos;
  const std::string_view host = std::string_view(spelled).substr(0, slash);
  const std::string_view mask = has_mask ? std::string_view(spelled).substr(slash + 1) : std::string_view();
  Network out;
  if (!has_mask) {
    const auto address = parse_address(host);
    if (!address) return fail(Errc::protocol, "bad address pattern: " + quoted());
    out.base = *address;
    out.prefix = address->bits;
    return out;
  }
  const auto prefix = parse_number<unsigned>(mask);
  if (!prefix) return fail(Errc::protocol, "bad mask value in " + quoted());
  const auto address = parse_address(host);
  if (!address) return fail(Errc::protocol, "bad network value in " + quoted());
  if (*prefix > static_cast<unsigned>(address->bits))
    return fail(Errc::protocol, "bad mask length in " + quoted());
  out.prefix = static_cast<int>(*prefix);
  out.base = masked(*address, out.prefix);
  if (!(out.base == *address))
    return fail(Errc::protocol, "non-null host address bits in " + quoted() +
                                    ", perhaps you should use \"" + to_text(out.base) + "/" +
                                    std::to_string(out.prefix) + "\" instead");
  return out;
}

}  // namespace millrace::map
