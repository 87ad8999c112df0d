// What an MTA tells a filter: payloads of milter packets, the other direction of core/milter/wire.h.
//
// Pure functions over bytes; everything views the input and is bounded by it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/mime/message.h"

namespace millrace::milterd {

// SMFIC_CONNECT.  family: 'U' unknown, 'L' unix socket, '4', '6'; the address without Sendmail's "IPv6:".
struct ConnectEvent {
  std::string_view host;
  char family = 'U';
  std::uint16_t port = 0;
  std::string_view address;
};
std::optional<ConnectEvent> parse_connect(std::string_view data);

// Texts that each end in a NUL; nullopt when the last one does not, or there are more than `most`.
std::optional<std::vector<std::string_view>> parse_texts(std::string_view data, std::size_t most);

// SMFIC_MACRO without its first byte, the event they belong to: names without braces' loss ("{auth_type}", "i").
// nullopt: a name without a value.
std::optional<std::map<std::string, std::string, std::less<>>> parse_macros(std::string_view data);

// SMFIC_HEADER as a field: "Name: value" with CRLF between folded lines.  `leading_space`: the value brings the white
// space after the colon (SMFIP_HDR_LEADSPC).  A line end that is no folding gets a tab: it must not begin a field.
// nullopt: no text, or a name that no field can have.
std::optional<mime::Header> parse_header(std::string_view data, bool leading_space);

}  // namespace millrace::milterd
