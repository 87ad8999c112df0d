// Frames on the unix sockets of the queue process.  Pure codec: bytes in, values out.
//
// A frame: u32 length of what follows (little-endian), u8 type, payload.  Descriptors ride on the first
// byte of their frame.  Between fronts and the queue process:
//
//   front   submit    varint request, u8 flags (1: a descriptor follows the content), string envelope (codec.h),
//                     string content
//           reserve   varint request, varint count
//           verify    varint request, varint seconds to wait, string address
//           observe   (nothing): deliveries are to be told from now on
//   queue   submitted varint request, u8 status, string text
//           reserved  varint request, u8 status, varint first
//           verified  varint request, u8 status, u8 what (smtp::Verified::Status), string text
//           delivered a list of strings: status (0 sent, 1 deferred, 2 bounced), queue id, sender, recipient, original
//                     recipient, relay, status code, text, microseconds since arrival
//
// Between tools and the control socket (see control_wire.h) the payload is a list of strings:
//
//   tool    request   operation, arguments
//   queue   item …, then done or failed
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/smtp/sink.h"

namespace millrace::queue::wire {

enum class Type : std::uint8_t { submit = 1, reserve, submitted, reserved, verify, verified, observe, delivered, request = 16, item, done, failed };

// An envelope with as many recipients as there may be fits; content above 16 KiB travels as a descriptor.
constexpr std::size_t kMaxFrame = 32 << 20;
constexpr std::size_t kMaxStrings = 1 << 20;   // in a list

enum class DecodeStatus { ok, need_more, too_large };

struct Frame {
  DecodeStatus status = DecodeStatus::need_more;
  std::size_t consumed = 0;
  Type type{};
  std::string_view payload;   // views the input
};
// The first frame of `bytes`.  A type nobody knows is for the caller to refuse.
Frame decode(std::string_view bytes);

struct Submit {
  std::uint64_t request = 0;
  bool has_descriptor = false;
  std::string_view envelope, content;
};
struct Reserve {
  std::uint64_t request = 0, count = 0;
};
struct Verify {
  std::uint64_t request = 0, wait_s = 0;
  std::string_view address;
};
struct Answer {            // submitted, reserved and verified
  std::uint64_t request = 0;
  bool ok = false;
  Errc code = Errc::internal;   // when not ok
  std::uint64_t first = 0;      // of reserved
  std::string text;             // of submitted, when not ok; of verified
  std::uint8_t what = 0;        // of verified
};

// false: the payload is malformed.
bool parse(std::string_view payload, Submit& out);
bool parse(std::string_view payload, Reserve& out);
bool parse(std::string_view payload, Verify& out);
bool parse_answer(Type type, std::string_view payload, Answer& out);

// All append a whole frame.
void put_submit(const Submit& submit, std::string& out);
void put_reserve(const Reserve& reserve, std::string& out);
void put_verify(const Verify& verify, std::string& out);
void put_verified(std::uint64_t request, const Result<smtp::Verified>& result, std::string& out);
void put_submitted(std::uint64_t request, const Result<void>& result, std::string& out);
void put_reserved(std::uint64_t request, const Result<std::uint64_t>& result, std::string& out);

void put_strings(Type type, const std::vector<std::string>& strings, std::string& out);
bool parse_strings(std::string_view payload, std::vector<std::string>& out);

}  // namespace millrace::queue::wire
