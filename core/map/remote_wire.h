// What is said to table servers: socketmap_table(5) and tcp_table(5).  Pure; bytes in, values out.
//
// socketmap: request and reply are netstrings, "NAME KEY" and "OK data", "NOTFOUND ", "TEMP why", "TIMEOUT why",
// "PERM why".  tcp: lines, "get KEY" and "200 data", "500 why" (not there), "400 why", with %XX for what is not
// printable.  A reply that is longer than allowed is an answer of its own: nobody waits for its end.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::map {

constexpr std::size_t kSocketmapReplyLimit = 100'000;   // octets of the netstring's content
constexpr std::size_t kTcpReplyLimit = 4096;            // with its newline

struct RemoteReply {
  enum class Status { need_more, malformed, too_large, found, not_found, failed } status = Status::need_more;
  std::string text;           // found: the value; failed and malformed: what was said
  std::size_t consumed = 0;   // octets of the reply
};

std::string socketmap_request(std::string_view map_name, std::string_view key);
RemoteReply parse_socketmap_reply(std::string_view bytes);

std::string tcp_request(std::string_view key);
RemoteReply parse_tcp_reply(std::string_view bytes);

}  // namespace millrace::map
