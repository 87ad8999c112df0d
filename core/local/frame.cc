#include "core/local/frame.h"

#include "core/queue/bytes.h"

namespace millrace::local {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kMaxText = 512;

bool has_nul(std::string_view text) { return text.find('\0') != text.npos; }

}  // namespace

const std::string& Request::value(Tag tag) const {
  static const std::string none;
  for (const auto& [name, text] : values) {
    if (name == tag) return text;
  }
  return none;
}

bool encode(const Request& request, std::string& out) {
  if (request.values.size() > kMaxValues) return false;
  std::string frame;
  queue::put_u8(frame, kVersion);
  queue::put_u8(frame, 'Q');
  queue::put_u32(frame, request.id);
  queue::put_u8(frame, static_cast<std::uint8_t>(request.kind));
  queue::put_string(frame, request.service);
  queue::put_varint(frame, request.values.size());
  for (const auto& [tag, text] : request.values) {
    if (has_nul(text)) return false;   // no argument or path can hold it
    queue::put_u8(frame, static_cast<std::uint8_t>(tag));
    queue::put_string(frame, text);
    if (frame.size() > kMaxFrame) return false;
  }
  if (frame.size() > kMaxFrame || has_nul(request.service)) return false;
  out += frame;
  return true;
}

void encode(const Answer& answer, std::string& out) {
  queue::put_u8(out, kVersion);
  queue::put_u8(out, 'A');
  queue::put_u32(out, answer.id);
  queue::put_u8(out, static_cast<std::uint8_t>(answer.ending));
  queue::put_u32(out, answer.wait_status);
  queue::put_string(out, std::string_view(answer.text).substr(0, kMaxText));
}

std::optional<Request> decode_request(std::string_view frame) {
  if (frame.size() > kMaxFrame) return {};
  queue::ByteReader in(frame);
  if (in.u8() != kVersion || in.u8() != 'Q') return {};
  Request out;
  out.id = in.u32();
  const std::uint8_t kind = in.u8();
  if (kind < 1 || kind > kLastTaskKind) return {};
  out.kind = static_cast<TaskKind>(kind);
  out.service = std::string(in.string());
  const std::uint64_t count = in.varint();
  if (in.failed() || has_nul(out.service) || count > kMaxValues || count > in.left() / 2) return {};
  out.values.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint8_t tag = in.u8();
    const std::string_view text = in.string();
    if (in.failed() || tag < 1 || tag > kLastTag || has_nul(text)) return {};
    out.values.emplace_back(static_cast<Tag>(tag), text);
  }
  if (!in.finished()) return {};
  return out;
}

std::optional<Answer> decode_answer(std::string_view frame) {
  queue::ByteReader in(frame);
  if (in.u8() != kVersion || in.u8() != 'A') return {};
  Answer out;
  out.id = in.u32();
  const std::uint8_t ending = in.u8();
  if (ending < 1 || ending > 3) return {};
  out.ending = static_cast<Answer::Ending>(ending);
  out.wait_status = in.u32();
  out.text = std::string(in.string());
  if (!in.finished() || out.text.size() > kMaxText) return {};
  return out;
}

}  // namespace millrace::local
