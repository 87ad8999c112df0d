#include "core/queue/wire.h"

#include "core/queue/bytes.h"

namespace millrace::queue::wire {
namespace {

constexpr std::size_t kHead = 5;

// Begins a frame whose length is filled in by end().
std::size_t begin(Type type, std::string& out) {
  const std::size_t start = out.size();
  put_u32(out, 0);
  put_u8(out, static_cast<std::uint8_t>(type));
  return start;
}

void end(std::size_t start, std::string& out) {
  const auto length = static_cast<std::uint32_t>(out.size() - start - 4);
  for (unsigned i = 0; i < 4; ++i) out[start + i] = static_cast<char>(length >> 8 * i);
}

std::uint8_t status_of(Errc code) { return static_cast<std::uint8_t>(static_cast<unsigned>(code) + 1); }

}  // namespace

Frame decode(std::string_view bytes) {
  Frame frame;
  if (bytes.size() < 4) return frame;
  const std::uint32_t length = ByteReader(bytes).u32();
  if (length == 0 || length > kMaxFrame) {
    frame.status = DecodeStatus::too_large;
    return frame;
  }
  if (bytes.size() - 4 < length) return frame;
  frame.status = DecodeStatus::ok;
  frame.consumed = std::size_t{4} + length;
  frame.type = static_cast<Type>(static_cast<unsigned char>(bytes[4]));
  frame.payload = bytes.substr(kHead, length - 1);
  return frame;
}

bool parse(std::string_view payload, Submit& out) {
  ByteReader in(payload);
  out.request = in.varint();
  const unsigned flags = in.u8();
  out.has_descriptor = flags == 1;
  out.envelope = in.string();
  out.content = in.string();
  return flags <= 1 && in.finished();
}

bool parse(std::string_view payload, Reserve& out) {
  ByteReader in(payload);
  out.request = in.varint();
  out.count = in.varint();
  return in.finished();
}

bool parse(std::string_view payload, Verify& out) {
  ByteReader in(payload);
  out.request = in.varint();
  out.wait_s = in.varint();
  out.address = in.string();
  return in.finished();
}

bool parse_answer(Type type, std::string_view payload, Answer& out) {
  ByteReader in(payload);
  out.request = in.varint();
  const unsigned status = in.u8();
  if (status > static_cast<unsigned>(Errc::internal) + 1) return false;
  out.ok = status == 0;
  if (!out.ok) out.code = static_cast<Errc>(status - 1);
  if (type == Type::reserved) out.first = in.varint();
  if (type == Type::verified) out.what = in.u8();
  if (type == Type::submitted || type == Type::verified) out.text = std::string(in.string());
  if (out.what > static_cast<unsigned>(smtp::Verified::Status::pending)) return false;
  return in.finished();
}

void put_submit(const Submit& submit, std::string& out) {
  const std::size_t start = begin(Type::submit, out);
  put_varint(out, submit.request);
  put_u8(out, submit.has_descriptor ? 1 : 0);
  put_string(out, submit.envelope);
  put_string(out, submit.content);
  end(start, out);
}

void put_reserve(const Reserve& reserve, std::string& out) {
  const std::size_t start = begin(Type::reserve, out);
  put_varint(out, reserve.request);
  put_varint(out, reserve.count);
  end(start, out);
}

void put_verify(const Verify& verify, std::string& out) {
  const std::size_t start = begin(Type::verify, out);
  put_varint(out, verify.request);
  put_varint(out, verify.wait_s);
  put_string(out, verify.address);
  end(start, out);
}

void put_verified(std::uint64_t request, const Result<smtp::Verified>& result, std::string& out) {
  const std::size_t start = begin(Type::verified, out);
  put_varint(out, request);
  put_u8(out, result ? 0 : status_of(result.error().code));
  put_u8(out, result ? static_cast<std::uint8_t>(result->status) : 0);
  put_string(out, result ? result->text : result.error().context);
  end(start, out);
}

void put_submitted(std::uint64_t request, const Result<void>& result, std::string& out) {
  const std::size_t start = begin(Type::submitted, out);
  put_varint(out, request);
  put_u8(out, result ? 0 : status_of(result.error().code));
  put_string(out, result ? std::string_view() : std::string_view(result.error().context));
  end(start, out);
}

void put_reserved(std::uint64_t request, const Result<std::uint64_t>& result, std::string& out) {
  const std::size_t start = begin(Type::reserved, out);
  put_varint(out, request);
  put_u8(out, result ? 0 : status_of(result.error().code));
  put_varint(out, result ? *result : 0);
  end(start, out);
}

void put_strings(Type type, const std::vector<std::string>& strings, std::string& out) {
  const std::size_t start = begin(type, out);
  put_varint(out, strings.size());
  for (const std::string& text : strings) put_string(out, text);
  end(start, out);
}

bool parse_strings(std::string_view payload, std::vector<std::string>& out) {
  ByteReader in(payload);
  const std::uint64_t count = in.varint();
  out.clear();
  if (in.failed() || count > kMaxStrings || count > in.left()) return false;
  out.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    out.emplace_back(in.string());
    if (in.failed()) return false;
  }
  return in.finished();
}

}  // namespace millrace::queue::wire
