#include "core/submit/queue_file.h"

#include <algorithm>

#include "core/base/strings.h"
#include "core/submit/record.h"

namespace millrace::submit {
namespace {

constexpr std::size_t kMaxLine = 16 << 20;        // a record of a queue file: line_length_limit of whoever wrote it
constexpr std::size_t kMaxPointers = 100000;
constexpr std::size_t kMaxAddress = 65536;
constexpr std::size_t kFlushAt = 64 * 1024;

Result<void> malformed(const char* what) { return fail(Errc::protocol, std::string("malformed queue file: ") + what); }

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7F; });
}

class Reader {
 public:
  Reader(std::string_view file, const std::set<std::string>& unreported, std::size_t recipient_limit,
         const std::function<Result<void>(std::string_view)>& content)
      : file_(file), unreported_(unreported), recipient_limit_(recipient_limit), content_(content) {}

  Result<QueueFile> run() {
    if (auto done = walk(); !done) return tl::unexpected(done.error());
    if (!sender_) return tl::unexpected(malformed("no sender").error());
    return std::move(out_);
  }

 private:
  enum class Part { size, envelope, content, extracted };

  Result<void> walk() {
    std::size_t at = 0, pointers = 0;
    // Sequential reading visits each octet once; every jump may make it visit them again.
    for (std::size_t budget = 4 * file_.size() + 16; budget > 0; --budget) {
      const DecodedRecord decoded = decode_record(file_.substr(at), kMaxLine);
      if (decoded.status != RecordStatus::ok) return malformed("cut short");
      const Record& record = decoded.record;
      at += decoded.consumed;
      if (record.type == 'w') continue;   // padding
      if (record.type == 'p') {
        const auto target = parse_number<std::size_t>(trim(record.text));
        if (!target || *target >= file_.size()) return malformed("pointer");
        if (++pointers > kMaxPointers) return malformed("too many pointers");
        if (*target != 0) at = *target;
        continue;
      }
      bool end = false;
      if (auto taken = take(record, end); !taken) return taken;
      if (end) return flush();
    }
    return malformed("pointers go in circles");
  }

  Result<void> take(const Record& record, bool& end) {
    const std::string_view text = record.text;
    switch (part_) {
      case Part::size:
        if (record.type != 'C') return malformed("no size record: a message that was being written");
        part_ = Part::envelope;
        return size(text);
      case Part::envelope:
        if (record.type != 'M') return envelope(record);
        part_ = Part::content;
        return {};
      case Part::content:
        if (record.type == 'X') {
          part_ = Part::extracted;
          return {};
        }
        if (record.type != 'N' && record.type != 'L') return malformed("record in content");
        return line(text, record.type == 'N');
      case Part::extracted:
        end = record.type == 'E';
        return end ? Result<void>() : envelope(record);
    }
    return malformed("record");
  }

  // "size offset recipients options content-length smtputf8"
  Result<void> size(std::string_view text) {
    const auto words = split(text, " ");
    if (words.size() >= 6) out_.envelope.smtputf8 = (parse_number<unsigned>(words[5]).value_or(0) & 1) != 0;
    return words.size() >= 2 ? Result<void>() : malformed("size record");
  }

  Result<void> envelope(const Record& record) {
    const std::string_view text = record.text;
    switch (record.type) {
      case 'T': {
        const auto words = split(text, " ");
        const auto seconds = words.empty() ? std::nullopt : parse_number<std::uint32_t>(words[0]);
        if (!seconds) return malformed("arrival time");
        const auto micros = words.size() > 1 ? parse_number<std::uint32_t>(words[1]).value_or(0) : 0;
        out_.envelope.arrival = *seconds * 1000000LL + micros % 1000000;
        return {};
      }
      case 'S':
        if (text.size() > kMaxAddress || has_control(text)) return malformed("sender");
        out_.envelope.sender = text;
        sender_ = true;
        return {};
      case 'O':
        if (has_control(text)) return malformed("original recipient");
        next_.original = text;
        return {};
      case 'R': return recipient(text);
      case 'D':
        if (unreported_.count(std::string(text)) != 0) return recipient(text);
        next_ = {};
        return {};
      case '/': next_ = {}; return {};
      case 'L':
        if (has_control(text)) return malformed("content filter");
        out_.envelope.content_filter = text;
        return {};
      case 'W':
        out_.delay_warned = trim(text) == "0";
        return {};
      case 'V':
        if (text.size() == 2 && !has_control(text)) out_.envelope.verp = text;
        return {};
      case 'A': return attribute(text);
      default: return {};   // what has no meaning once the message is queued: full name, flags, counts
    }
  }

  Result<void> recipient(std::string_view address) {
    if (address.size() > kMaxAddress || has_control(address)) return malformed("recipient");
    if (out_.envelope.recipients.size() >= recipient_limit_) return fail(Errc::too_large, "too many recipients");
    next_.address = address;
    if (next_.original.empty()) next_.original = next_.address;
    out_.envelope.recipients.push_back(std::exchange(next_, {}));
    return {};
  }

  Result<void> attribute(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == text.npos || has_control(text)) return malformed("attribute");
    const std::string_view name = text.substr(0, equals), value = text.substr(equals + 1);
    const auto number = parse_number<unsigned>(value);
    mime::Envelope& e = out_.envelope;
    const struct {
      std::string_view name;
      std::string* field;
    } fields[] = {
        {"envelope_id", &e.envid},         {"client_name", &e.client_name},
        {"client_address", &e.client_address}, {"client_port", &e.client_port},
        {"reverse_client_name", &e.reverse_client_name}, {"helo_name", &e.helo_name},
        {"protocol_name", &e.protocol},    {"sasl_method", &e.sasl_method},
        {"sasl_username", &e.sasl_username}, {"sasl_sender", &e.sasl_sender},
        {"log_client_name", &e.log_client_name}, {"log_client_address", &e.log_client_address},
        {"log_client_port", &e.log_client_port}, {"log_helo_name", &e.log_helo_name},
        {"log_protocol_name", &e.log_protocol}, {"log_ident", &e.log_ident},
        {"dsn_orig_rcpt", &next_.orcpt},
    };
    for (const auto& row : fields) {
      if (row.name == name) *row.field = value;
    }
    if (name == "notify_flags" && number) next_.notify = *number & 15;
    if (name == "ret_flags") e.ret = value == "1" ? mime::Ret::full : value == "2" ? mime::Ret::headers : mime::Ret::unset;
    if (name == "encoding") e.body = value == "7bit" ? mime::BodyType::seven_bit : value == "8bit" ? mime::BodyType::eight_bit : e.body;
    if (name == "trace_flags" && number) {
      e.trace = (*number & 512) != 0 ? mime::Trace::verify : (*number & 1024) != 0 ? mime::Trace::record : mime::Trace::none;
    }
    return {};
  }

  Result<void> line(std::string_view text, bool ends) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
      pending_.append(text.substr(0, end));
      if (end == text.size()) break;
      pending_ += ' ';
      text.remove_prefix(end + 1);
    }
    if (ends) pending_ += "\r\n";
    open_line_ = !ends;
    return pending_.size() < kFlushAt ? Result<void>() : flush();
  }

  Result<void> flush() {
    if (part_ == Part::extracted && std::exchange(open_line_, false)) pending_ += "\r\n";
    if (pending_.empty()) return {};
    auto given = content_(pending_);
    pending_.clear();
    return given;
  }

  std::string_view file_;
  const std::set<std::string>& unreported_;
  std::size_t recipient_limit_;
  const std::function<Result<void>(std::string_view)>& content_;
  Part part_ = Part::size;
  QueueFile out_;
  mime::Recipient next_;
  std::string pending_;
  bool sender_ = false, open_line_ = false;
};

}  // namespace

Result<QueueFile> read_queue_file(std::string_view file, const std::set<std::string>& unreported, std::size_t recipient_limit,
                                  const std::function<Result<void>(std::string_view)>& content) {
  return Reader(file, unreported, recipient_limit, content).run();
}

std::set<std::string> failed_recipients(std::string_view bounce_log) {
  std::set<std::string> out;
  for (const std::string_view line : split(bounce_log, "\n")) {
    if (line.starts_with("recipient=")) out.emplace(line.substr(10));
  }
  return out;
}

}  // namespace millrace::submit
