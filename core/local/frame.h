// What an unprivileged role asks of the master, and what the master answers: one frame, one packet of a
// SOCK_SEQPACKET socket, descriptors beside it.  Pure, bounded.
//
//   request: version, 'Q', id (u32), kind, service (string), count (varint), count * (tag, string)
//   answer:  version, 'A', id (u32), ending, wait status (u32), text (string)
//
// A request names a service of master.cf and gives envelope values; what is run, and as whom, the master
// takes from its own configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::local {

constexpr std::size_t kMaxFrame = 120 * 1024;   // fits the default socket buffer
constexpr std::size_t kMaxValues = 4096;

enum class TaskKind : std::uint8_t {
  pipe = 1,         // run the command of a pipe service; descriptors: message, output
  alias,            // a command, file or list that an alias names; descriptors: message, report
  forward,          // a user's .forward
  mailbox,          // a user's mailbox, or mailbox_command
  virtual_mailbox,  // the mailbox of a virtual(8) recipient
};
constexpr std::uint8_t kLastTaskKind = 5;

enum class Tag : std::uint8_t {
  sender = 1, nexthop, queue_id, size, client_address, client_helo, client_hostname, client_port, client_protocol,
  sasl_method, sasl_sender, sasl_username,
  recipient,      // repeated, each followed by its original
  original,
  user,           // local: the account, lower case
  extension,      // local: without delimiter
  local_part,     // local: whole, as given
  domain,
  delivered,      // what Delivered-To says
  alias_name,     // the key of an alias
  entry,          // which of the alias's values, from 0
  delimiter,      // local: what stood before the extension
  verify,         // local, virtual: nothing is delivered; kVerifyUser (sendmail -bv) or kVerifyProbe
};
constexpr std::uint8_t kLastTag = 23;
constexpr char kVerifyUser[] = "user", kVerifyProbe[] = "probe";

struct Request {
  std::uint32_t id = 0;
  TaskKind kind = TaskKind::pipe;
  std::string service;
  std::vector<std::pair<Tag, std::string>> values;

  void add(Tag tag, std::string_view value) { values.emplace_back(tag, value); }
  // The first of that tag; "" when there is none.
  const std::string& value(Tag tag) const;
};

struct Answer {
  enum class Ending : std::uint8_t { ended = 1, timed_out, refused };
  std::uint32_t id = 0;
  Ending ending = Ending::ended;
  std::uint32_t wait_status = 0;   // of waitpid(2), when ended or timed out
  std::string text;                // why refused
};

// false: larger than a frame may be; nothing is appended.
bool encode(const Request& request, std::string& out);
void encode(const Answer& answer, std::string& out);   // text is cut
std::optional<Request> decode_request(std::string_view frame);
std::optional<Answer> decode_answer(std::string_view frame);

}  // namespace millrace::local
