// What a delivery task says to the queue process: records over a pipe.  Pure, bounded.
//
//   record: kind, status, dsn (string), text (string)
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/deliver/attempt.h"

namespace millrace::local {

struct Record {
  enum class Kind : std::uint8_t {
    address = 1,     // text: an address to deliver to; dsn: kFromInclude when an :include: file has it
    outcome,         // a delivery was made or failed
    forward_file,    // text: the .forward that was used; dsn: kNamedByExtension when its name has the address extension
    no_user,         // there is no such account
    no_forward,      // no .forward, or one that names nothing
    warning,         // text: for the log
    end,             // all was done: without it the task died
  };
  Kind kind = Kind::end;
  deliver::Outcome::Status status = deliver::Outcome::Status::pending;
  std::string dsn, text;
};
constexpr std::uint8_t kLastRecordKind = 7;
constexpr char kNamedByExtension[] = "extension", kFromInclude[] = "include";
constexpr std::size_t kMaxReport = 1024 * 1024;

void encode(const Record& record, std::string& out);
// All records; nullopt when the bytes are none, or do not end with `end`.
std::optional<std::vector<Record>> decode_report(std::string_view bytes);

}  // namespace millrace::local
