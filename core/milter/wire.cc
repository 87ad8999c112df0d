// Milter packets: see wire.h.
#include "core/milter/wire.h"

#include "core/base/strings.h"

namespace millrace::milter {
namespace {

std::uint32_t read_u32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  return value;
}

void put_u32(std::uint32_t value, char* at) {
  for (int shift = 24; shift >= 0; shift -= 8) *at++ = static_cast<char>(value >> shift & 0xff);
}

// "5.7.1": a class of one digit, then two numbers of up to three.
std::size_t enhanced_length(std::string_view text) {
  std::size_t at = 0;
  for (int part = 0; part < 3; ++part) {
    if (part > 0) {
      if (at >= text.size() || text[at] != '.') return 0;
      ++at;
    }
    const std::size_t from = at;
    while (at < text.size() && is_digit(text[at]) && at - from < (part == 0 ? 1u : 3u)) ++at;
    if (at == from) return 0;
  }
  return at == text.size() || text[at] == ' ' ? at : 0;
}

std::string without_percents(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && ++i == text.size()) break;
    out += text[i];
  }
  return out;
}

}  // namespace

std::uint32_t protocol_bits(std::uint32_t version) {
  if (version <= 2) return 0x7f;
  if (version == 3) return 0x17f;
  if (version <= 5) return 0x37f;
  return 0x1fffff;
}

Decoded decode(std::string_view buffer, std::size_t limit) {
  if (buffer.size() < 4) return {};
  const std::size_t length = read_u32(buffer);
  if (length == 0) return {DecodeStatus::empty, 0, {}};
  if (length > limit) return {DecodeStatus::too_large, 0, {}};
  if (buffer.size() - 4 < length) return {};
  return {DecodeStatus::ok, 4 + length, {buffer[4], buffer.substr(5, length - 1)}};
}

void write_head(char command, std::size_t payload, char* at) {
  put_u32(static_cast<std::uint32_t>(payload + 1), at);
  at[4] = command;
}

void encode(char command, std::string_view data, std::string& out) {
  char head[kHeadLength];
  write_head(command, data.size(), head);
  out.append(head, sizeof head).append(data);
}

PacketWriter::PacketWriter(std::string& out, char command) : out_(out), start_(out.size()) {
  out_.append(4, '\0') += command;
}

PacketWriter::~PacketWriter() {
  put_u32(static_cast<std::uint32_t>(out_.size() - start_ - 4), out_.data() + start_);
}

PacketWriter& PacketWriter::u16(std::uint16_t value) {
  out_ += static_cast<char>(value >> 8);
  out_ += static_cast<char>(value & 0xff);
  return *this;
}

PacketWriter& PacketWriter::u32(std::uint32_t value) {
  char bytes[4];
  put_u32(value, bytes);
  out_.append(bytes, sizeof bytes);
  return *this;
}

PacketWriter& PacketWriter::byte(char value) {
  out_ += value;
  return *this;
}

PacketWriter& PacketWriter::text(std::string_view value) {
  out_.append(value.substr(0, value.find('\0'))) += '\0';
  return *this;
}

void encode_options(const Options& options, std::string& out) {
  PacketWriter packet(out, event::kOptions);
  packet.u32(options.version).u32(options.actions).u32(options.protocol);
  for (std::uint32_t stage = 0; stage < options.macros.size(); ++stage) {
    if (options.macros[stage]) packet.u32(stage).text(*options.macros[stage]);
  }
}

std::optional<Options> decode_options(std::string_view data) {
  const auto version = take_u32(data), actions = take_u32(data), protocol = take_u32(data);
  if (!version || !actions || !protocol) return {};
  Options options{*version, *actions, *protocol, {}};
  while (!data.empty()) {
    const auto stage = take_u32(data);
    const auto names = stage ? take_text(data) : std::nullopt;
    if (!names) return {};
    if (*stage < static_cast<std::uint32_t>(MacroStage::unknown)) options.macros[*stage] = std::string(*names);
  }
  return options;
}

std::optional<ReplyText> parse_reply_text(std::string_view data) {
  ReplyText reply;
  std::string_view rest = data.substr(0, data.find('\0'));   // what follows the NUL is not looked at, as in Postfix
  if (rest.size() < 4) return {};   // Postfix wants a separator behind the code
  bool alike = true;                // one enhanced code for all lines
  std::string with_codes;
  for (bool first = true; first || !rest.empty(); first = false) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto code = line.size() < 3 ? std::nullopt : parse_number<int>(line.substr(0, 3));
    if (!code || *code < 400 || *code > 599 || (!first && *code != reply.code)) return {};
    if (line.size() > 3 && line[3] != ' ' && line[3] != '-') return {};
    if (line.size() > 3 && line[3] == '-' && rest.empty()) return {};   // the end is missing
    reply.code = *code;
    line.remove_prefix(line.size() > 3 ? 4 : 3);
    if (!first) with_codes += '\n';
    with_codes += printable(without_percents(line));
    const std::size_t length = enhanced_length(line);
    if (length > 0 && line[0] - '0' != reply.code / 100) return {};
    if (first) reply.enhanced = line.substr(0, length);
    alike = alike && line.substr(0, length) == reply.enhanced;
    if (length > 0) line.remove_prefix(length < line.size() ? length + 1 : length);
    if (!first) reply.text += '\n';
    reply.text += printable(without_percents(line));
  }
  if (!alike) {
    reply.enhanced.clear();
    reply.text = std::move(with_codes);
  }
  return reply;
}

std::optional<std::string_view> take_text(std::string_view& data) {
  const std::size_t end = data.find('\0');
  if (end == data.npos) return {};
  const std::string_view text = data.substr(0, end);
  data.remove_prefix(end + 1);
  return text;
}

std::optional<std::uint32_t> take_u32(std::string_view& data) {
  if (data.size() < 4) return {};
  const std::uint32_t value = read_u32(data);
  data.remove_prefix(4);
  return value;
}

std::optional<HeaderEdit> parse_header_edit(std::string_view data, bool with_index) {
  HeaderEdit edit;
  if (with_index) {
    const auto index = take_u32(data);
    if (!index) return {};
    edit.index = *index;
  }
  const auto name = take_text(data), value = name ? take_text(data) : std::nullopt;
  if (!value || !data.empty()) return {};
  edit.name = *name;
  edit.value = *value;
  return edit;
}

std::optional<AddressEdit> parse_address_edit(std::string_view data, bool with_parameters) {
  const auto address = take_text(data);
  if (!address) return {};
  AddressEdit edit{*address, {}};
  if (data.empty()) return edit;
  if (!with_parameters) return {};
  const auto parameters = take_text(data);
  if (!parameters || !data.empty()) return {};
  edit.parameters = *parameters;
  return edit;
}

std::string_view answer_name(char command) {
  switch (command) {
    case answer::kContinue: return "SMFIR_CONTINUE";
    case answer::kAccept: return "SMFIR_ACCEPT";
    case answer::kReject: return "SMFIR_REJECT";
    case answer::kTempfail: return "SMFIR_TEMPFAIL";
    case answer::kReplyCode: return "SMFIR_REPLYCODE";
    case answer::kShutdown: return "SMFIR_SHUTDOWN";
    case answer::kConnectionFailed: return "SMFIR_CONN_FAIL";
    case answer::kDiscard: return "SMFIR_DISCARD";
    case answer::kProgress: return "SMFIR_PROGRESS";
    case answer::kSkip: return "SMFIR_SKIP";
    case answer::kQuarantine: return "SMFIR_QUARANTINE";
    case answer::kAddRcpt: return "SMFIR_ADDRCPT";
    case answer::kAddRcptParameters: return "SMFIR_ADDRCPT_PAR";
    case answer::kDeleteRcpt: return "SMFIR_DELRCPT";
    case answer::kChangeFrom: return "SMFIR_CHGFROM";
    case answer::kAddHeader: return "SMFIR_ADDHEADER";
    case answer::kInsertHeader: return "SMFIR_INSHEADER";
    case answer::kChangeHeader: return "SMFIR_CHGHEADER";
    case answer::kReplaceBody: return "SMFIR_REPLBODY";
    default: return "(unknown filter reply)";
  }
}

std::string_view event_name(char command) {
  switch (command) {
    case event::kOptions: return "SMFIC_OPTNEG";
    case event::kMacros: return "SMFIC_MACRO";
    case event::kConnect: return "SMFIC_CONNECT";
    case event::kHelo: return "SMFIC_HELO";
    case event::kMail: return "SMFIC_MAIL";
    case event::kRcpt: return "SMFIC_RCPT";
    case event::kData: return "SMFIC_DATA";
    case event::kUnknown: return "SMFIC_UNKNOWN";
    case event::kHeader: return "SMFIC_HEADER";
    case event::kEndOfHeaders: return "SMFIC_EOH";
    case event::kBody: return "SMFIC_BODY";
    case event::kEndOfMessage: return "SMFIC_BODYEOB";
    case event::kAbort: return "SMFIC_ABORT";
    case event::kQuit: return "SMFIC_QUIT";
    default: return "unknown";
  }
}

}  // namespace millrace::milter
