// A server's bytes in any pieces: the same replies whole and in pieces, bounded, printable; EHLO too.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/assert.h"
#include "core/deliver/ehlo.h"
#include "core/deliver/reply.h"

using namespace millrace::deliver;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = data[0] % 16 + 1;
  const std::string_view wire(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto run = [&](std::size_t piece) {
    std::string out;
    ReplyParser parser;
    for (std::size_t at = 0; at < wire.size(); at += piece) {
      std::string_view rest = wire.substr(at, piece);
      while (!rest.empty()) {
        std::size_t used = 0;
        const ReplyParser::Status status = parser.feed(rest, used);
        MR_ASSERT(used <= rest.size());
        rest.remove_prefix(used);
        if (status == ReplyParser::Status::invalid) return out + "invalid";
        if (status == ReplyParser::Status::need_more) continue;
        const Reply reply = parser.take();
        MR_ASSERT(reply.code >= 200 && reply.code <= 599 && reply.text.size() <= ReplyParser::kMaxText);
        MR_ASSERT(reply.dsn.size() >= 5 && reply.flat().find_first_of("\r\n") == std::string::npos);
        (void)parse_ehlo(reply, "mx.example", {"dsn"});
        out += reply.text + "|" + reply.dsn + "\n";
      }
    }
    return out;
  };
  MR_ASSERT(run(step) == run(wire.size() + 1));
  return 0;
}
