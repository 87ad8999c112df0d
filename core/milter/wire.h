// The milter protocol as bytes: packets, their payloads, the numbers of the negotiation.
//
// A packet is a 32-bit big-endian length, a command byte and length-1 bytes of payload.  All here is pure:
// no sockets, no log, no allocation proportional to a length field.  What the events and answers mean is
// in session.h.  The protocol has no RFC: Sendmail's libmilter and Postfix's MILTER_README define it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::milter {

// MTA to filter.
namespace event {
inline constexpr char kOptions = 'O', kMacros = 'D', kConnect = 'C', kHelo = 'H', kMail = 'M', kRcpt = 'R',
                      kData = 'T', kUnknown = 'U', kHeader = 'L', kEndOfHeaders = 'N', kBody = 'B',
                      kEndOfMessage = 'E', kAbort = 'A', kQuit = 'Q',
                      kNextSession = 'K';   // the connection stays, for another client
}
// Filter to MTA.
namespace answer {
inline constexpr char kContinue = 'c', kAccept = 'a', kReject = 'r', kTempfail = 't', kReplyCode = 'y',
                      kShutdown = '4', kConnectionFailed = 'f', kDiscard = 'd', kProgress = 'p', kSkip = 's',
                      kQuarantine = 'q', kAddRcpt = '+', kAddRcptParameters = '2', kDeleteRcpt = '-',
                      kChangeFrom = 'e', kAddHeader = 'h', kInsertHeader = 'i', kChangeHeader = 'm',
                      kReplaceBody = 'b';
}

// SMFIF_*: what a filter may change.
inline constexpr std::uint32_t kAllActions = 0x1ff;

// SMFIP_*: events a filter does not want (kNo…), does not answer (kNoReply…), and manners.
namespace protocol {
inline constexpr std::uint32_t kNoConnect = 0x1, kNoHelo = 0x2, kNoMail = 0x4, kNoRcpt = 0x8, kNoBody = 0x10,
                               kNoHeaders = 0x20, kNoEndOfHeaders = 0x40, kNoReplyHeader = 0x80,
                               kNoUnknown = 0x100, kNoData = 0x200, kSkip = 0x400, kRejectedRcpt = 0x800,
                               kNoReplyConnect = 0x1000, kNoReplyHelo = 0x2000, kNoReplyMail = 0x4000,
                               kNoReplyRcpt = 0x8000, kNoReplyData = 0x10000, kNoReplyUnknown = 0x20000,
                               kNoReplyEndOfHeaders = 0x40000, kNoReplyBody = 0x80000,
                               kLeadingSpace = 0x100000;
}
// What a peer of that version knows, of the above.
std::uint32_t protocol_bits(std::uint32_t version);

// Longest packet taken from a peer.  libmilter sends body pieces of 64 KiB, at most 1 MiB.
inline constexpr std::size_t kMaxPacket = 1024 * 1024 + 1024;
// Largest body piece that every filter takes.
inline constexpr std::size_t kBodyPiece = 65535;

struct Packet {
  char command = 0;
  std::string_view data;   // views the input
};

enum class DecodeStatus { ok, need_more, too_large, empty };
struct Decoded {
  DecodeStatus status = DecodeStatus::need_more;
  std::size_t consumed = 0;   // 0 unless ok
  Packet packet;
};

// The first packet of `buffer`, or why not.  too_large is known from the length field alone: nobody waits
// for bytes beyond `limit`.  empty: a length of 0, which has no command.
Decoded decode(std::string_view buffer, std::size_t limit = kMaxPacket);

// The first five bytes of a packet with that much payload.
inline constexpr std::size_t kHeadLength = 5;
void write_head(char command, std::size_t payload, char* at);

// Appends a packet.
void encode(char command, std::string_view data, std::string& out);

// Appends a packet piece by piece; the length is filled in at the end of its life.
class PacketWriter {
 public:
  PacketWriter(std::string& out, char command);
  ~PacketWriter();
  PacketWriter(const PacketWriter&) = delete;
  PacketWriter& u16(std::uint16_t value);
  PacketWriter& u32(std::uint32_t value);
  PacketWriter& byte(char value);
  // Text and a NUL; text ends at its first NUL, if it holds one.
  PacketWriter& text(std::string_view value);

 private:
  std::string& out_;
  std::size_t start_;
};

// Macro lists a filter may ask for, in the numbers of the protocol; unknown commands have a list of ours
// but no number.
enum class MacroStage { connect, helo, mail, rcpt, data, end_of_message, end_of_headers, unknown };
inline constexpr std::size_t kMacroStages = 8;

struct Options {
  std::uint32_t version = 0, actions = 0, protocol = 0;
  // Macro names the filter wants instead of the MTA's own list, by MacroStage.
  std::array<std::optional<std::string>, kMacroStages> macros;
};
void encode_options(const Options& options, std::string& out);
// Payload of an options packet.  nullopt when it is short or a macro list has no end; lists for stages
// with an unknown number are left out.
std::optional<Options> decode_options(std::string_view data);

// "550-5.7.1 first\r\n550 5.7.1 last": code, enhanced code ("" when there is none) and text with LF between
// lines.  "%%" stands for '%', a single '%' for nothing.  nullopt unless every line has the same code of
// class 4 or 5 and the enhanced code, where there is one, is of that class.  Enhanced codes that differ from line to line
// stay in the text.  What follows a NUL is not looked at.
struct ReplyText {
  int code = 0;
  std::string enhanced, text;
};
std::optional<ReplyText> parse_reply_text(std::string_view data);

// Cuts a NUL-terminated text off `data`; nullopt when there is no NUL.
std::optional<std::string_view> take_text(std::string_view& data);
std::optional<std::uint32_t> take_u32(std::string_view& data);

struct HeaderEdit {
  std::uint32_t index = 0;
  std::string_view name, value;
};
// Payload of add (without index), insert and change header; the name may be empty.  nullopt: malformed, or bytes are
// left over.
std::optional<HeaderEdit> parse_header_edit(std::string_view data, bool with_index);

struct AddressEdit {
  std::string_view address, parameters;
};
// Payload of the recipient and sender changes; only some of them may have parameters.
std::optional<AddressEdit> parse_address_edit(std::string_view data, bool with_parameters);

// For log lines, as Postfix spells them: "SMFIC_MAIL"; "unknown" for others.
std::string_view event_name(char command);
// The same for answers: "SMFIR_CONN_FAIL"; "(unknown filter reply)" for others.
std::string_view answer_name(char command);

}  // namespace millrace::milter
