#include "core/local/report.h"

#include "core/queue/bytes.h"

namespace millrace::local {

void encode(const Record& record, std::string& out) {
  constexpr std::size_t kMaxText = 8192;
  queue::put_u8(out, static_cast<std::uint8_t>(record.kind));
  queue::put_u8(out, static_cast<std::uint8_t>(record.status));
  queue::put_string(out, std::string_view(record.dsn).substr(0, 16));
  queue::put_string(out, std::string_view(record.text).substr(0, kMaxText));
}

std::optional<std::vector<Record>> decode_report(std::string_view bytes) {
  std::vector<Record> out;
  queue::ByteReader in(bytes);
  while (in.left() > 0) {
    const std::uint8_t kind = in.u8(), status = in.u8();
    Record record;
    record.dsn = std::string(in.string());
    record.text = std::string(in.string());
    if (in.failed() || kind < 1 || kind > kLastRecordKind || status > 3) return {};
    if (!out.empty() && out.back().kind == Record::Kind::end) return {};
    record.kind = static_cast<Record::Kind>(kind);
    record.status = static_cast<deliver::Outcome::Status>(status);
    if (record.kind == Record::Kind::outcome && (status == 0 || record.dsn.size() < 5)) return {};
    out.push_back(std::move(record));
  }
  if (out.empty() || out.back().kind != Record::Kind::end) return {};
  return out;
}

}  // namespace millrace::local
